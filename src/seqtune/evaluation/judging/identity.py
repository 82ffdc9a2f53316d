"""Who said so: a judge's identity and the key of one judgement, so that different judges are never mixed unseen."""

from __future__ import annotations

from typing import Literal

import xxhash

from seqtune.data.example import Example, prompt_text
from seqtune.evaluation.judging.asking import titles

Form = Literal["checklist", "original"]
PROMPTS_OF: dict[Form | Literal["pairwise"], tuple[str, ...]] = {
    "checklist": ("verdicts", "quality"),
    "original": ("original",),
    "pairwise": ("pairwise",),
}


def judge_id(form: Form | Literal["pairwise"], model: str, checklist: str = "") -> str:
    """A judge's identity: "MODEL | verdicts 1, quality 1 | 3f9a...", the same where verdicts can be compared.

    Args:
        form: how it is asked.
        model: its name.
        checklist: the hash of the checklist (`Checklist.label`), "" where there is none.
    """
    return " | ".join(filter(None, [model, titles(*PROMPTS_OF[form]), checklist]))


def key_of(item: Example, answer_text: str, judge: str) -> str:
    """The key of one judgement: the hash of the item, its prompt, the answer and the judge's identity."""
    told = "\x1e".join([item.id, item.system, prompt_text(item), answer_text, judge])
    return xxhash.xxh3_128_hexdigest(told.encode("utf-8", "surrogatepass"))
