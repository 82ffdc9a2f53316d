"""What an evaluation found, whoever asked and scored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from seqtune.evaluation.figures import Figures
from seqtune.evaluation.headline import Headline
from seqtune.evaluation.tax import ChainTax


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Args:
        out: the run folder: items.jsonl, answers.jsonl, verdicts.jsonl, metrics.json, run.json.
        model, suite: what was asked, and with what.
        judge: who scored the answers: "program", or a judge with its form and checklist; "" where nobody did yet.
        items, answered: how many items there are, and how many of them the model answered.
        headline: the one figure to quote, or why none may be; None where nothing was scored yet.
        figures: a line for each split and number of steps, and one for all.
        chain_taxes: of the suite `chains` with `singles`: what steps lose by standing in a chain.
        notes: what the reader has to know.
        wall_s: how long it took; cpu_s: processor seconds of all threads.
    """

    out: Path
    model: str
    suite: str
    judge: str
    items: int
    answered: int
    headline: Headline | None
    figures: tuple[Figures, ...]
    chain_taxes: tuple[ChainTax, ...]
    notes: tuple[str, ...]
    wall_s: float
    cpu_s: float
