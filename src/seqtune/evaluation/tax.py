"""The chain tax: what a model that does a step by itself loses when the step stands in a chain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from seqtune.data.example import Example
from seqtune.evaluation.scoring import Scored
from seqtune.evaluation.statistics.bootstrap import Interval, paired_bootstrap
from seqtune.evaluation.statistics.measure import Measure, share
from seqtune.evaluation.suites.generated_chains import SINGLES


class ChainTax(msgspec.Struct, frozen=True):
    """The tax on chains of one length.

    Args:
        steps: how many steps the chains have.
        chains: how many chains there are whose steps were all asked by themselves as well.
        alone: share of their steps that are done when asked by themselves, on the right result of the step before.
        in_chain: share that are done in the chain.
        tax: alone less in_chain, with the interval of paired bootstrap over chains.
    """

    steps: int
    chains: int
    alone: Measure
    in_chain: Measure
    tax: Interval


def chain_taxes(items: Sequence[Example], scored: Iterable[Scored]) -> list[ChainTax]:
    """The tax by number of steps; none where single steps were not asked.

    Args:
        items: of the suite `chains`, with `singles`.
        scored: what was said of the answers.
    """
    soft = {one.item: one.measures.get("soft") for one in scored}
    pairs: dict[int, list[tuple[float, float]]] = {}
    for item in items:
        alone = [soft.get(one) for one in item.meta.get(SINGLES, ())]
        told = [one for one in alone if one is not None]
        in_chain = soft.get(item.id)
        if told and len(told) == len(alone) and in_chain is not None:
            pairs.setdefault(len(item.steps), []).append((sum(told) / len(told), in_chain))
    return [_tax(steps, found) for steps, found in sorted(pairs.items())]


def _tax(steps: int, pairs: Sequence[tuple[float, float]]) -> ChainTax:
    alone, in_chain = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    tax = paired_bootstrap([one - other for one, other in pairs])
    return ChainTax(steps, len(pairs), share(sum(alone), len(pairs)), share(sum(in_chain), len(pairs)), tax)
