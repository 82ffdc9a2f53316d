"""The shipped operations, by theme. Importing this registers them; `parts` says what a word, a number, a line is."""

from seqtune.building.bank import formats, letters, lines, mentions, numbers, sentences, words

__all__ = ["formats", "letters", "lines", "mentions", "numbers", "sentences", "words"]
