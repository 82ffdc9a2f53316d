"""A set of row ids in little memory, so that a build of a million rows needs no more than one of fifty thousand."""

from __future__ import annotations

_FIRST_SLOTS = 1 << 21  # 16 MiB of 64-bit slots, taken at once: enough for 1.4 million ids


class IdSet:
    """The first 64 bits of each id in an open hash table: 12 to 24 bytes an id, where a Python set takes about 100.

    Two different ids of a million share their first 64 bits with a probability of 3e-8.
    """

    def __init__(self) -> None:
        self._size = 0
        self._resize(_FIRST_SLOTS)

    def add(self, row_id: str) -> bool:
        """Add an id (at least 16 hexadecimal digits); says whether it is new."""
        key = int(row_id[:16], 16) or 1
        slots, mask = self._slots, self._mask
        at = key & mask
        while (found := slots[at]) != 0:
            if found == key:
                return False
            at = (at + 1) & mask
        slots[at] = key
        self._size += 1
        if self._size * 3 > 2 * mask:
            self._grow()
        return True

    def __len__(self) -> int:
        return self._size

    def _resize(self, slots: int) -> None:
        self._slots = memoryview(bytearray(8 * slots)).cast("Q")
        self._mask = slots - 1

    def _grow(self) -> None:
        before = self._slots
        self._resize(2 * len(before))
        slots, mask = self._slots, self._mask
        for key in before:
            if key:
                at = key & mask
                while slots[at]:
                    at = (at + 1) & mask
                slots[at] = key
