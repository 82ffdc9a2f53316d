"""Near-duplicates among the rows of a build, found by MinHash in flat memory.

The hashing is rensa's. The index is our own, as a build needs little of one and pays for every byte: one byte of each
of 128 hashes (Li and König 2010, b-bit minwise hashing), and a table of 32-bit row numbers, some 180 bytes a row.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from operator import eq

from rensa import RMinHash

from seqtune.building.language import words

_HASHES = 128
_BANDS, _BAND_HASHES = 7, 8  # at similarity 0.9, 98 of 100 pairs share a band; at 0.5, 3
_SHINGLE = 3  # words
_SEED = 1
_FIRST_SLOTS = 1 << 12
_LONGEST_RUN = 64  # slots looked at in one probe: keeps rows of one mould, which share a band, from costing n squared
_BY_CHANCE = 1 / 256  # of the bytes of two unlike signatures are equal

_all_hashes = struct.Struct(f"<{_HASHES}I")
_band_keys = struct.Struct(f"<{_BANDS}Q")


class NearSet:
    """Texts, of which none is nearly the same as an earlier one.

    Args:
        threshold: Jaccard similarity of the texts' sets of three-word shingles, as estimated, from which on two texts
            are near; shingles of signs where a script does not part its words.
    """

    def __init__(self, threshold: float = 0.85) -> None:
        self._least = int(_HASHES * (threshold + (1 - threshold) * _BY_CHANCE) + 0.999)
        self._signatures = bytearray()
        self._resize(_FIRST_SLOTS)

    def add(self, text: str) -> int | None:
        """Add a text: None where nothing near is there, else the number of the earlier one (0 for the first added)."""
        signature = _signature(text)
        for start, key in _bands(signature):
            if (near := self._look(start, key, signature)) is not None:
                return near
        self._insert(signature)
        return None

    def __len__(self) -> int:
        return len(self._signatures) // _HASHES

    def _look(self, band: int, key: int, signature: bytes) -> int | None:
        slots, mask, stored = self._slots, self._mask, self._signatures
        own = signature[band : band + _BAND_HASHES]
        at = key & mask
        for _ in range(_LONGEST_RUN):
            if not (found := slots[at]):
                return None
            start = (found - 1) * _HASHES
            same_band = stored[start + band : start + band + _BAND_HASHES] == own  # the rest is 30 times as dear
            if same_band and sum(map(eq, signature, stored[start : start + _HASHES])) >= self._least:
                return found - 1
            at = (at + 1) & mask
        return None

    def _insert(self, signature: bytes) -> None:
        self._signatures += signature
        count = len(self)
        full = count * _BANDS * 4 > 3 * self._mask
        if full:
            self._resize(2 * len(self._slots))
        for number in range(0 if full else count - 1, count):
            self._point_to(number)

    def _point_to(self, number: int) -> None:
        slots, mask, start = self._slots, self._mask, number * _HASHES
        for _, key in _bands(self._signatures[start : start + _HASHES]):
            at = key & mask
            for _ in range(_LONGEST_RUN):
                if not slots[at]:
                    slots[at] = number + 1
                    break
                at = (at + 1) & mask

    def _resize(self, slots: int) -> None:
        self._slots = memoryview(bytearray(4 * slots)).cast("I")
        self._mask = slots - 1


def _bands(signature: bytes | bytearray) -> Iterator[tuple[int, int]]:
    """Where each band starts, and its key in the table."""
    for band, key in enumerate(_band_keys.unpack_from(signature)):
        yield band * _BAND_HASHES, key ^ key >> 31


def _signature(text: str) -> bytes:
    hashed = RMinHash(num_perm=_HASHES, seed=_SEED)
    hashed.update(_shingles(text))
    return _all_hashes.pack(*hashed.digest())[::4]  # the low byte of each


def _shingles(text: str) -> list[bytes]:
    # bytes, as a reply may hold half a surrogate pair, which rensa does not take as text
    found = [word.encode("utf-8", "surrogatepass") for word in words(text)] or [text.encode("utf-8", "surrogatepass")]
    if len(found) <= _SHINGLE:
        return [b" ".join(found)]
    return [b" ".join(three) for three in zip(found, found[1:], found[2:], strict=False)]
