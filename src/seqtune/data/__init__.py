"""Rows: what one is, and where rows come from and go to."""

from seqtune.data.chat import conversation
from seqtune.data.detection import Detection
from seqtune.data.example import Example, Image, Origin, Step, Turn, messages, prompt_text
from seqtune.data.failure import Failure, Fault
from seqtune.data.format import formats, objects, row_format, text
from seqtune.data.reader import detect, read, rows
from seqtune.data.writer import Written, write

__all__ = [
    "Detection",
    "Example",
    "Failure",
    "Fault",
    "Image",
    "Origin",
    "Step",
    "Turn",
    "Written",
    "conversation",
    "detect",
    "formats",
    "messages",
    "objects",
    "prompt_text",
    "read",
    "row_format",
    "rows",
    "text",
    "write",
]
