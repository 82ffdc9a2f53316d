"""A word-level tokenizer made from the rows at hand: one token a known word, characters and bytes for the rest.

What it encodes it decodes exactly, unseen words, blanks and newlines included, so answers can be compared as real text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from importlib import resources
from typing import TYPE_CHECKING

from seqtune.data.example import Example, messages
from seqtune.errors import MissingExtraError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# A word carries the blank before it, so "one two" is two tokens; a word at the start of a line carries one too (taken
# off again when decoding), so that the same word is the same token wherever it stands. Without that a model would have
# to learn every word twice. The mark is a Unicode noncharacter (reserved for such use): no real text can hold it.
BLANK = "\ufdd0"
PIECE = rf"{BLANK}?(?:[^\W\d_]+|\d|_|[^\w\s{BLANK}])|{BLANK}|\s"
END, PAD = "<|end|>", "<|pad|>"
MARKS = (PAD, END, "<|system|>", "<|user|>", "<|assistant|>")


def tiny_tokenizer(examples: Iterable[Example]) -> PreTrainedTokenizerFast:
    """A word-level tokenizer that knows the words of the rows."""
    texts = (message["content"] for example in examples for message in messages(example))
    return word_tokenizer(text for text in texts if isinstance(text, str))


def word_tokenizer(texts: Iterable[str], vocabulary: int = 8000) -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens are the words of `texts`, at most `vocabulary` of them (the most frequent).

    Every byte and every printable ASCII character is a token as well, so that nothing is ever unknown.
    """
    try:
        from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
        from transformers import PreTrainedTokenizerFast
    except ImportError as error:
        raise MissingExtraError(error.name or "transformers", "train", "training a tokenizer") from None

    tokenizer = Tokenizer(models.Unigram(_scores(texts, vocabulary), unk_id=0, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace("\n", f"\n{BLANK}"),
            normalizers.Replace(" ", BLANK),
            normalizers.Prepend(BLANK),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(PIECE), behavior="isolated")
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.ByteFallback(),
            decoders.Fuse(),
            *[decoders.Replace(f"{before}{BLANK}", before) for before in ("\n", *MARKS)],
            decoders.Replace(BLANK, " "),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=list(MARKS[2:]),
        chat_template=shipped_template(),
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )


def shipped_template() -> str:
    """The chat template of models that have none of their own."""
    return resources.files("seqtune.training").joinpath("chat_template.jinja").read_text("utf-8")


def pieces(text: str) -> list[str]:
    """The words, digits and marks of a text as the tokenizer sees them: their number is the text's length in tokens."""
    marked = BLANK + text.replace("\n", f"\n{BLANK}").replace(" ", BLANK)
    return _PIECE.findall(marked)


_PIECE = re.compile(PIECE)


def _scores(texts: Iterable[str], vocabulary: int) -> list[tuple[str, float]]:
    """The vocabulary in the order of its ids, with scores that make the longest known piece always win."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(pieces(text))
    words = sorted(counts, key=lambda word: (-counts[word], word))[:vocabulary]
    characters = [BLANK, "\n", *map(chr, range(32, 127))]
    known: dict[str, float] = dict.fromkeys(MARKS, 0.0)
    known |= {f"<0x{byte:02X}>": -30.0 for byte in range(256)}
    known |= dict.fromkeys(characters, -20.0)
    known |= dict.fromkeys(words, -10.0)
    return list(known.items())
