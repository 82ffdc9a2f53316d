"""Measures of a text against another: exact match, F1 of words, ROUGE-L, chrF, and the authors' lenient rule."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec

from rapidfuzz.distance import LCSseq

from seqtune.building.language import SIGN
from seqtune.errors import MissingExtraError

# What the authors' scorer looks for, without regard to case; nothing else says for it that an answer was given.
MARKS = ("result:", "answer:", "answer is", "result is")

# SQuAD leaves out articles (Rajpurkar et al. 2016), MLQA those of other languages as well (Lewis et al. 2020).
_ARTICLES = {
    "en": "a an the",
    "de": "ein eine einen einem eines einer der die das den dem des",
    "es": "un una unos unas el la los las",
    "fr": "un une des le la les",
}
_SIGN = re.compile(f"([{SIGN}])")
_SENTENCE = re.compile(r"[^\n.!?。！？]*(?:[.!?。！？](?!\s)[^\n.!?。！？]*)*(?:[.!?。！？]|\n|\Z)")
_TOO_LONG = 8  # times the words of the reference: beyond that ROUGE-L is under 0.22, whatever the words are


@lru_cache(maxsize=256)
def plain_words(text: str, language: str = "en") -> tuple[str, ...]:
    """The words as SQuAD compares them: case folded, without punctuation and articles.

    Scripts that part no words (Chinese, Japanese, Thai, ...) give their signs.

    Args:
        text: any.
        language: whose articles are left out; of languages that are not known here, none.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    bare = "".join([sign for sign in folded if not _is_punctuation(sign)])
    articles = _ARTICLES.get(language, "").split()
    return tuple([word for word in _SIGN.sub(r" \1 ", bare).split() if word not in articles])


def _is_punctuation(sign: str) -> bool:
    return unicodedata.category(sign).startswith("P") or sign in "$+<=>^`|~"


def exact_match(text: str, golds: Sequence[str], language: str = "en") -> float:
    """1 where the text has the words of one of the golds and no others (SQuAD's EM); nothing matches nothing."""
    said = plain_words(text, language)
    return float(bool(said) and any(said == plain_words(gold, language) for gold in golds))


def word_f1(text: str, golds: Sequence[str], language: str = "en") -> float:
    """SQuAD's F1: the words that the text shares with a gold, in any order; of several golds the best."""
    return max([_shared(plain_words(text, language), plain_words(gold, language)) for gold in golds], default=0.0)


def _shared(said: Sequence[str], wanted: Sequence[str]) -> float:
    common = (Counter(said) & Counter(wanted)).total()
    return 2 * common / (len(said) + len(wanted)) if common else 0.0


def _in_common(said: tuple[str, ...], wanted: tuple[str, ...]) -> float:
    return 2 * LCSseq.similarity(said, wanted) / (len(said) + len(wanted)) if said and wanted else 0.0


def rouge_l_of_beginning(text: str, reference: str) -> float:
    """ROUGE-L of that beginning of the text, in whole sentences, which is most like the reference.

    ROUGE-L (Lin 2004) is the F1 of the longest common subsequence of words; here without stemming.

    What was asked for first is often followed by something else without a mark between them (the question's translation
    by its solution); compared with all of it, a good translation would look bad.
    """
    wanted = plain_words(reference, "")
    said: tuple[str, ...] = ()
    best = 0.0
    for sentence in _SENTENCE.findall(text):
        said += plain_words(sentence, "")
        best = max(best, _in_common(said, wanted))
        if len(said) > _TOO_LONG * len(wanted):
            break
    return best


def chrf(text: str, reference: str) -> float:
    """F2 of character n-grams (chrF, Popović 2015), 0 to 1, as sacrebleu counts it.

    Raises:
        MissingExtraError: sacrebleu is not installed.
    """
    if not has_chrf():
        raise MissingExtraError("sacrebleu", "eval", "chrF")
    from sacrebleu import sentence_chrf

    return float(sentence_chrf(text, [reference]).score) / 100


def has_chrf() -> bool:
    """Whether chrF can be told on this machine."""
    return find_spec("sacrebleu") is not None


def lenient(text: str, golds: Sequence[str]) -> float:
    """The authors' rule, kept as it was for comparison: a gold stands in the prediction, or the reverse.

    The prediction is what follows the first of `MARKS` that the text holds, or else all of it. It has faults that are
    theirs: nothing stands in everything, so that an answer of just "Answer:" is right; a translation that holds the
    gold is right without any answer; a part of the gold is right, be it a letter. The recorded figures of XQuAD come
    out to the decimal with the English answers as golds, and not with those in the question's language.
    """
    said = _predicted(text).lower()
    return float(any(wanted in said or said in wanted for wanted in [gold.strip().lower() for gold in golds]))


def _predicted(text: str) -> str:
    low = text.lower()
    for mark in MARKS:
        if mark in low:
            return low.partition(mark)[2].strip()
    return text.strip()


def marked(text: str) -> float:
    """What the authors call following: one of their `MARKS` is there."""
    low = text.lower()
    return float(any(mark in low for mark in MARKS))
