"""What a training will take, before it starts: memory and time, with the arithmetic, from a model without weights."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel

# What weights and computing are in:
#   float32   all in 32 bits
#   mixed     trained weights in 32 bits, frozen ones and computing in 16 (autocast)
#   bfloat16  all in 16 bits
Precision = Literal["float32", "mixed", "bfloat16"]

LOGIT_BYTES = 12  # of each token and word: log-probabilities, their gradient and the logits', in 32 bits each
# 4 bits and, with double quantisation, 0.127 bits of constants: Dettmers et al., "QLoRA" (2023), section 3.
QUANTISED_BYTES = (4 + 0.127) / 8
MIXED = 1.2  # autocast keeps the residual stream in 32 bits: measured 1.1 to 1.3 times what all in 16 bits takes
# Of a device's peak that training reaches: PaLM 46 % (Chowdhery et al., 2022, section 4.1), small models far less.
USE = (0.2, 0.5)
FUSED = "seqtune_fused"  # the name of our attention in transformers' list
UNKNOWN_SPEED = "the device's speed is not known"
UNKNOWN_LENGTH = "it depends on how long the tries become, and to write them takes most"
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")  # what configs call the number of experts


class Range(NamedTuple):
    """From the least to the most that is to be expected."""

    low: float
    high: float


class Part(NamedTuple):
    """One thing that memory is needed for, and how its bytes come about."""

    name: str
    arithmetic: str
    bytes: float


@dataclass(frozen=True)
class Estimate:
    """What a training will take.

    Args:
        parameters, trained: weights of the model, adapters included, and those of them that are trained.
        steps: batches of the run.
        slots: tokens of all batches, padding included.
        memory: on each device, in parts.
        flops: floating-point operations of the run; flops_arithmetic: how they come about.
        seconds: how long it will take, None where nobody knows; seconds_arithmetic: how that comes about, or why not.
    """

    parameters: int
    trained: int
    steps: int
    slots: int
    memory: tuple[Part, ...]
    flops: float
    flops_arithmetic: str
    seconds: Range | None
    seconds_arithmetic: str

    @property
    def bytes(self) -> float:
        """The memory of all parts. Real ones (CPU, 32 bits, 65 to 660 MB) took 2 % less to 14 % more, plus 40 MB."""
        return sum(part.bytes for part in self.memory)

    def explain(self) -> list[str]:
        """Lines for the user, such as "weights: 8.03e9 x 2 bytes = 16.1 GB"."""
        lines = [f"{part.name}: {part.arithmetic} = {size_text(part.bytes)}" for part in self.memory]
        lines += [
            f"memory: {size_text(self.bytes)}, and what the process itself takes",
            f"compute: {self.flops_arithmetic} = {self.flops:.3g} FLOP",
        ]
        if self.seconds is None:
            return [*lines, f"time: unknown, as {self.seconds_arithmetic or UNKNOWN_SPEED}"]
        low, high = map(duration_text, self.seconds)
        return [*lines, f"time: {self.seconds_arithmetic} = {low if low == high else f'{low} to {high}'}"]


def skeleton(config: PreTrainedConfig) -> PreTrainedModel:
    """A model without weights, on torch's meta device. Adapters put on it count as on the real one."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)


def shapes(batches: Iterable[Sequence[int]], lengths: Sequence[int], *, packed: bool = False) -> list[tuple[int, int]]:
    """Rows and slots of each batch as the model gets it, padded to the longest row, or packed into one."""
    if packed:
        return [(1, sum(lengths[i] for i in batch)) for batch in batches]
    return [(len(batch), max(lengths[i] for i in batch)) for batch in batches]


def estimate(
    model: PreTrainedModel,
    batches: Sequence[tuple[int, int]],
    *,
    precision: Precision,
    quantised: bool = False,
    checkpointing: bool = False,
    head_share: float = 1.0,
    head_words: int | None = None,
    logit_bytes: int = LOGIT_BYTES,
    reference: bool = False,
    tries: tuple[int, int] | None = None,
    optimiser_bytes: float | None = None,
    shards: int = 1,
    peak_flops: float | None = None,
    tokens_per_s: Range | None = None,
) -> Estimate:
    """What a training will take on each device.

    Args:
        model: a skeleton, with its adapters; only trained weights require gradients.
        batches: rows and slots of each batch of the whole run: `shapes`.
        precision: of weights and computing.
        quantised: frozen linear layers are kept in 4 bits.
        checkpointing: activations are computed again in the backward pass.
        head_share: of the slots, for which the head is computed; head_words: of how many words at a time, where that
            is not all of them; logit_bytes: of each slot and word.
        reference: a frozen model is compared with, which reads every batch too: a copy in 32 bits where all weights
            are trained, else of the adapter alone.
        tries: texts that are written together before each step, and tokens of each with its prompt: how long that
            takes depends on how long they become, so no time is told.
        optimiser_bytes: for each trained weight; by default Adam's two numbers in the weight's own precision.
        shards: devices that weights, gradients and optimiser states are spread over (FSDP, ZeRO-3).
        peak_flops: of all devices together, a second.
        tokens_per_s: as measured, padding included; goes before `peak_flops`.

    Sources: 6 operations a weight and token: Kaplan et al., "Scaling laws for neural language models" (2020), section
    2.1; frozen weights need no gradient, so 4 (what attention adds is left out: 2 % for an 8B model on rows of 512
    tokens). Activations: counted, see `_activations`.
    """
    parameters, trained = _count(model.parameters()), _count(p for p in model.parameters() if p.requires_grad)
    slots = sum(rows * width for rows, width in batches)
    flops, flops_arithmetic = _flops(model, parameters == trained, slots, checkpointing, reference)
    seconds, seconds_arithmetic = _seconds(slots, flops, peak_flops, tokens_per_s)
    if tries:
        seconds, seconds_arithmetic = None, UNKNOWN_LENGTH
    largest = max(batches, key=lambda shape: (shape[0] * shape[1], shape[1]))
    memory = [
        *_states(model, precision, quantised, optimiser_bytes, shards),
        *_passing(model, largest, precision, checkpointing, head_share, head_words, logit_bytes),
    ]
    if reference and parameters == trained:
        memory.append(_part("reference, as the model was at the start", parameters, 4, 1))
    elif reference:
        memory.append(_part("reference, as the adapter was at the start", trained, 4, 1))
    if tries:
        memory.append(_cache(model, tries, precision))
    return Estimate(
        parameters,
        trained,
        len(batches),
        slots,
        tuple(memory),
        flops,
        flops_arithmetic,
        seconds,
        seconds_arithmetic,
    )


def measured(model: PreTrainedModel, batches: Sequence[Mapping[str, Any]]) -> Range:
    """Tokens a second, padding included, of forward and backward passes; the model and all random states stay the same.

    Args:
        model: the real one, on its device.
        batches: as the model takes them, on its device; the first warms up, each of the others is timed.
    """
    import torch

    rates: list[float] = []
    devices = [model.device] if model.device.type != "cpu" else []
    with torch.random.fork_rng(devices=devices, device_type=model.device.type if devices else "cuda"):
        for batch in batches:
            start = time.perf_counter()
            model(**batch).loss.backward()
            float(next(p.grad for p in model.parameters() if p.grad is not None).sum())  # waits for the device
            rates.append(batch["input_ids"].numel() / (time.perf_counter() - start))
            model.zero_grad(set_to_none=True)
    return Range(min(rates[1:]), max(rates[1:]))


def _states(
    model: PreTrainedModel, precision: Precision, quantised: bool, optimiser_bytes: float | None, shards: int
) -> list[Part]:
    """What stays from step to step."""
    trained = _count(p for p in model.parameters() if p.requires_grad)
    frozen = _count(p for p in model.parameters() if not p.requires_grad)
    small = _quantisable(model) if quantised else 0
    each = 2 if precision == "bfloat16" and not frozen else 4  # adapters are kept in 32 bits by PEFT
    states = 2 * each if optimiser_bytes is None else optimiser_bytes
    parts = [
        _part("weights in 4 bits", small, QUANTISED_BYTES, shards),
        _part("frozen weights", frozen - small, 4 if precision == "float32" else 2, shards),
        _part("weights" if not frozen else "trained weights", trained, each, shards),
        _part("weights in 16 bits, for computing", trained if precision == "mixed" else 0, 2, shards),
        _part("gradients", trained, each, shards),
        _part("optimiser states", trained, states, shards),
    ]
    return [part for part in parts if part.bytes]


def _passing(
    model: PreTrainedModel,
    shape: tuple[int, int],
    precision: Precision,
    checkpointing: bool,
    head_share: float,
    head_words: int | None,
    logit_bytes: int,
) -> list[Part]:
    """What a step needs for its largest batch."""
    config = model.config.get_text_config()
    rows, width = shape
    tokens, layers = rows * width, config.num_hidden_layers
    counted, how = _activations(model, shape, precision)
    activations = Part("activations", f"{tokens:,} tokens x {size_text(counted / tokens)} ({how})", counted)
    if checkpointing:
        each = 2 if precision == "bfloat16" else 4
        arithmetic = f"{layers} layers x {tokens:,} tokens x {config.hidden_size} channels x {each} bytes"
        inside = f"{size_text(counted / layers)} within a layer ({how})"
        kept = layers * tokens * config.hidden_size * each
        activations = Part("activations, with checkpointing", f"{arithmetic} + {inside}", kept + counted / layers)
    scored, words = round(tokens * head_share), min(head_words or config.vocab_size, config.vocab_size)
    logits = Part("logits", f"{scored:,} tokens x {words:,} x {logit_bytes} bytes", scored * words * logit_bytes)
    return [activations, logits]


def _cache(model: PreTrainedModel, tries: tuple[int, int], precision: Precision) -> Part:
    """Keys and values of what is written, of every layer; an upper bound where a model keeps fewer."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    (texts, longest), layers, each = tries, config.num_hidden_layers, 4 if precision == "float32" else 2
    arithmetic = f"{texts} x {longest:,} tokens x {layers} layers x 2 x {width} channels x {each} bytes"
    return Part("keys and values of the tries", arithmetic, texts * longest * layers * 2 * width * each)


def _activations(model: PreTrainedModel, shape: tuple[int, int], precision: Precision) -> tuple[float, str]:
    """Bytes of what a forward pass keeps for the backward pass, logits not included.

    The forward pass is run on the meta device, where tensors have shapes and no content, and what autograd saves is
    counted. Where an architecture does not run there: 34 bytes a layer, token and channel, of Korthikanti et al.,
    "Reducing activation recomputation in large transformer models" (2022), section 4.1.
    """
    import torch

    if precision == "float32":
        with suppress(Exception):  # whatever an architecture's own code raises
            return _saved(model, shape, torch.float32), "counted"
    scale = {"float32": 2.0, "mixed": MIXED, "bfloat16": 1.0}[precision]
    with suppress(Exception):  # mixtures of experts run there in 16 bits only
        return scale * _saved(model, shape, torch.bfloat16), "counted"
    config = model.config.get_text_config()
    values = shape[0] * shape[1] * config.hidden_size * config.num_hidden_layers
    return scale * 34 * values, "by a rule, as it cannot be counted; experts take several times as much"


def _saved(model: PreTrainedModel, shape: tuple[int, int], dtype: torch.dtype) -> float:
    import torch

    eager = model.config._attn_implementation == "eager"
    model.to(dtype=dtype).train()
    own = {tensor.untyped_storage()._cdata for tensor in [*model.parameters(), *model.buffers()]}
    words = model.config.get_text_config().vocab_size
    found: dict[int, torch.UntypedStorage] = {}  # held, so that no two have the same key

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage()._cdata not in own and words not in tensor.shape:
            found[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
        return tensor

    ids = torch.zeros(shape, dtype=torch.long, device="meta")
    mask = torch.zeros(shape[0], 1, shape[1], shape[1], dtype=dtype, device="meta") if eager else None
    with _attention_without_scores(model, eager), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model(input_ids=ids, attention_mask=mask, labels=ids, use_cache=False)
    return float(sum(storage.nbytes() for storage in found.values()))


@contextmanager
def _attention_without_scores(model: PreTrainedModel, eager: bool) -> Iterator[None]:
    """Attention that keeps what fused kernels keep: queries, keys, values and the result, but no scores.

    On the meta device torch would take the kernel that keeps the scores, which no real training does; eager attention
    does, and is left as it is.
    """
    from transformers import AttentionInterface

    before = model.config._attn_implementation
    AttentionInterface.register(FUSED, _fused)
    try:
        if not eager:
            model.set_attn_implementation(FUSED)
        yield
    finally:
        model.set_attn_implementation(before)


def _fused(
    module: object, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: object, **_: object
) -> tuple[torch.Tensor, None]:
    """As transformers calls attention: (B, heads, T, channels) to (B, T, heads, channels)."""
    import torch

    class Fused(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
            found = query.new_empty(*query.shape[:-1], value.shape[-1])
            ctx.save_for_backward(query, key, value, found)
            return found

    return Fused.apply(query, key, value).transpose(1, 2).contiguous(), None


def _flops(model: PreTrainedModel, full: bool, slots: int, checkpointing: bool, reference: bool) -> tuple[float, str]:
    active = _active(model)
    each = (6 if full else 4) + (2 if checkpointing else 0) + (2 if reference else 0)
    again = ", 2 of them as the forward pass is done twice" if checkpointing else ""
    again += ", 2 of them for the reference" if reference else ""
    return float(each) * active * slots, f"{each} x {active:.3g} active weights x {slots:,} tokens{again}"


def _active(model: PreTrainedModel) -> float:
    """Weights that a token is multiplied with: the head, but no table of embeddings, and the experts it is sent to."""
    import torch

    config = model.config.get_text_config()
    experts = next((getattr(config, name) for name in EXPERTS if getattr(config, name, None)), 0)
    share = (getattr(config, "num_experts_per_tok", None) or experts) / experts if experts else 1.0
    head = model.get_output_embeddings()
    tables = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
    tables.discard(id(getattr(head, "weight", None)))
    named = [(name, weight) for name, weight in model.named_parameters() if id(weight) not in tables]
    return math.fsum(weight.numel() * (share if ".experts." in name else 1) for name, weight in named)


def _seconds(slots: int, flops: float, peak_flops: float | None, rate: Range | None) -> tuple[Range | None, str]:
    if rate:
        arithmetic = f"{slots:,} tokens / {rate.low:,.0f} to {rate.high:,.0f} tokens a second, as measured"
        return Range(slots / rate.high, slots / rate.low), arithmetic
    if peak_flops:
        low, high = USE
        arithmetic = f"{flops:.3g} FLOP / {low:.0%} to {high:.0%} of {peak_flops:.3g} FLOP a second"
        return Range(flops / peak_flops / high, flops / peak_flops / low), arithmetic
    return None, ""


def _quantisable(model: PreTrainedModel) -> int:
    """Frozen weights of linear layers but the head: what bitsandbytes keeps in 4 bits."""
    import torch

    head = model.get_output_embeddings()
    linear = [m.weight for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head]
    return _count(weight for weight in linear if not weight.requires_grad)


def _count(weights: Iterable[torch.Tensor]) -> int:
    return sum(weight.numel() for weight in weights)


def _part(name: str, weights: int, each: float, shards: int) -> Part:
    over = f" / {shards} devices" if shards > 1 else ""
    return Part(name, f"{weights:.3g} x {each:.3g} bytes{over}", weights * each / shards)


def size_text(count: float) -> str:
    """1.61e10 as "16.1 GB"."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}" if count < 1000 * unit else f"{count / unit:,.0f} {name}"
    return f"{count:.0f} bytes"


def duration_text(seconds: float) -> str:
    """Two figures that a person can plan with: "3.5 h", "12 min", "40 s"."""
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.2g} {name}" if seconds < 100 * unit else f"{seconds / unit:,.0f} {name}"
    return f"{seconds:.2g} s"
