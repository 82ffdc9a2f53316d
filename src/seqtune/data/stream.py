"""Bytes of a file: opened, unpacked, and in UTF-8, one piece at a time so that memory stays flat."""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from seqtune.data.failure import Fault

PIECE = 1 << 20
PACKED_PIECE = 1 << 16  # text unpacks to some 300 kB, a gzip "bomb" to 64 MB at most
ROW_LIMIT = 32 << 20


def pieces(path: Path) -> Iterator[bytes]:
    """The file's bytes, unpacked where they begin as gzip or Zstandard do, whatever the name says.

    Raises:
        Fault: from the iterator, where a packed file ends too early or is broken; all bytes before are yielded.
    """
    with path.open("rb") as file:
        head = file.read(PACKED_PIECE)
        if head.startswith(b"\x1f\x8b"):
            yield from _unpacked(head, file, "gzip")
        elif head.startswith(b"\x28\xb5\x2f\xfd"):
            yield from _unpacked(head, file, "zstd")
        else:
            yield head
            while piece := file.read(PIECE):
                yield piece


def _unpacked(head: bytes, file: BinaryIO, kind: str) -> Iterator[bytes]:
    # Not gzip.open or zstandard's stream_reader: the first loses what it unpacked before a tear, the second ends
    # there as if the file were whole.
    unpacker = _unpacker(kind)
    fresh = True
    piece = head
    while piece:
        try:
            data = unpacker.decompress(piece)
        except Exception as error:  # zlib.error and zstandard.ZstdError have no other common ancestor
            raise Fault("packed file is broken", f"{kind}: {error}", "copy or download the file again") from None
        if data:
            yield data
        fresh, piece = False, unpacker.unused_data
        if unpacker.eof:
            unpacker, fresh = _unpacker(kind), True
            piece = piece.lstrip(b"\0")  # gzip allows zeros after a member
        piece = piece or file.read(PACKED_PIECE)
    if not fresh:
        raise Fault("packed file is cut short", f"{kind}: the end is missing", "copy or download the file again")


def _unpacker(kind: str) -> Any:
    if kind == "gzip":
        return zlib.decompressobj(wbits=31)
    import zstandard

    return zstandard.ZstdDecompressor().decompressobj()


def peeked(data: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """How the bytes begin (at least PACKED_PIECE of them where there are so many), and all pieces from the start."""
    head = b""
    try:
        while len(head) < PACKED_PIECE and (piece := next(data, b"")):
            head += piece
    except Fault as fault:
        return head, chain((head,), _broken_off(fault))
    return head, chain((head,), data)


def _broken_off(fault: Fault) -> Iterator[bytes]:
    raise fault
    yield  # makes this an iterator, which raises when it is reached


def utf8(head: bytes, data: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces without a byte order mark, and in UTF-8 where they are UTF-16."""
    encoding = utf16(head)
    if not encoding:
        first = next(data, b"")
        yield first.removeprefix(codecs.BOM_UTF8)
        yield from data
        return
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    for piece in data:
        yield decoder.decode(piece).encode("utf-8", "replace")
    yield decoder.decode(b"", final=True).encode("utf-8", "replace")


def utf16(head: bytes) -> str:
    """The UTF-16 codec to read a text with that begins so, or "" for none. Without a mark, JSON gives it away."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if head[:2] in (b"{\0", b"[\0"):
        return "utf-16-le"
    return "utf-16-be" if head[:2] in (b"\0{", b"\0[") else ""


def lines(data: Iterator[bytes]) -> Iterator[bytes | Fault]:
    """The lines without their end; a Fault in place of one over ROW_LIMIT."""
    tail, skipping = b"", False
    for piece in data:
        parts = piece.split(b"\n")
        parts[0] = tail + parts[0]
        tail = parts.pop()
        if skipping and parts:
            skipping = False
            yield too_long()
            del parts[0]
        yield from parts
        if skipping or len(tail) > ROW_LIMIT:
            tail, skipping = b"", True
    if skipping:
        yield too_long()
    elif tail:
        yield tail


def text_pieces(data: Iterator[bytes]) -> Iterator[str]:
    """The pieces as text; a byte that is not UTF-8 becomes a lone surrogate ("surrogateescape")."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    for piece in data:
        if text := decoder.decode(piece):
            yield text
    if text := decoder.decode(b"", final=True):
        yield text


def too_long() -> Fault:
    """The fault of a row over ROW_LIMIT."""
    return Fault("row too long", f"over {ROW_LIMIT >> 20} MB", "split the row, or take it out")


def has_bad_bytes(text: str) -> bool:
    """Whether a text decoded with "surrogateescape" came from bytes that are not UTF-8."""
    if text.isascii():
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def not_utf8(row: str | bytes) -> Fault:
    """The fault of a row (as bytes, or decoded with "surrogateescape") that is not UTF-8, with the first bad byte."""
    raw = row if isinstance(row, bytes) else row.encode("utf-8", "surrogateescape")
    try:
        raw.decode("utf-8")
        at = 0
    except UnicodeDecodeError as error:
        at = error.start
    near = raw[max(0, at - 20) : at + 20].decode("latin-1")
    return Fault("not UTF-8", f"byte {at + 1} of the row: {near}", "save the file as UTF-8")
