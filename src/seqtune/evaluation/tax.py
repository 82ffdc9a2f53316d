"""The chain tax: what a model that does a step by itself loses when the step stands in a chain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from seqtune.data.example import Example
from seqtune.evaluation.scoring import Scored
from seqtune.evaluation.statistics.bootstrap import Interval, paired_bootstrap
from seqtune.evaluation.statistics.measure import Measure, mean_of
from seqtune.evaluation.suite import GROUP
from seqtune.evaluation.suites.generated_chains import SINGLES


class ChainTax(msgspec.Struct, frozen=True):
    """The tax on chains of one split and length.

    Args:
        steps: how many steps the chains have.
        chains: how many chains there are of which, and of each of whose steps alone, something could be told.
        alone: share of their steps that are done when asked by themselves, on the right result of the step before.
        in_chain: share that are done in the chain.
        tax: alone less in_chain, with the interval of paired bootstrap over chains.
        group: the split.
        left_out: chains that are not counted, because their answer or that to one of their steps is unscored.
    """

    steps: int
    chains: int
    alone: Measure
    in_chain: Measure
    tax: Interval
    group: str = ""
    left_out: int = 0


def chain_taxes(items: Sequence[Example], scored: Iterable[Scored]) -> list[ChainTax]:
    """The tax by split, in the order in which they come, and number of steps; none where nothing can be paired.

    Args:
        items: of the suite `chains`, with `singles`.
        scored: what was said of the answers.
    """
    soft = {one.item: one.measures.get("soft") for one in scored}
    splits: dict[tuple[str, int], list[tuple[float, float] | None]] = {}
    for item in items:
        if singles := item.meta.get(SINGLES):
            pair = _pair([soft.get(one) for one in singles], soft.get(item.id))
            splits.setdefault((str(item.meta.get(GROUP, "")), len(item.steps)), []).append(pair)
    groups = [*dict.fromkeys(group for group, _ in splits)]
    in_order = sorted(splits, key=lambda key: (groups.index(key[0]), key[1]))
    return [_tax(*key, splits[key]) for key in in_order if any(splits[key])]


def _pair(alone: Sequence[float | None], in_chain: float | None) -> tuple[float, float] | None:
    """The share of a chain's steps that are done alone, and in the chain; None where one of them is unscored."""
    told = [one for one in alone if one is not None]
    return (sum(told) / len(told), in_chain) if in_chain is not None and len(told) == len(alone) else None


def _tax(group: str, steps: int, found: Sequence[tuple[float, float] | None]) -> ChainTax:
    pairs = [pair for pair in found if pair]
    alone, in_chain = [one for one, _ in pairs], [other for _, other in pairs]
    tax = paired_bootstrap([one - other for one, other in pairs])
    left_out = len(found) - len(pairs)
    return ChainTax(steps, len(pairs), mean_of(alone), mean_of(in_chain), tax, group, left_out)
