"""Models on this machine, behind the same seam as a server: `hf:` with transformers, `vllm:` with vLLM.

`hf:` answers in batches: the requests that are there when the model gets free, of about equal length. It draws each
request's tokens from the hash of its key, so that a reply does not depend on what it was batched with but for the last
digits of the arithmetic. A `response_format` is not enforced; a prompt says in words what it wants too.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from pathlib import Path
from random import Random
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from seqtune.errors import MissingExtraError, TeacherError, shorten
from seqtune.llm.budget import Meter
from seqtune.llm.reply import Failed, Reply, Stopped, read_completion
from seqtune.llm.request import Request, Text, key_of

if TYPE_CHECKING:
    import torch

    from seqtune.llm.asking import Backend

WINDOW_S = 0.02  # how long the first request waits for company
BATCH = 32
BATCH_TOKENS = 32_768  # in a batch: prompts with their padding, and replies as long as they may get
MAX_TOKENS = 1024  # of a reply, where the request gives none
TEXT_ONLY = "give a text, or ask a served model that takes this"


class _Waiting(NamedTuple):
    """A request with its tokens, and who waits for it."""

    request: Request
    token_ids: list[int]
    max_tokens: int
    stop: tuple[str, ...]
    key: str
    answer: asyncio.Future[Reply | Failed]
    stopping: asyncio.Event


class _Written(NamedTuple):
    """What the model wrote, before it is judged like a server's answer."""

    text: str
    finish_reason: str
    tokens: int


def model_name(name: str) -> str:
    """The model as requests and the store call it; a folder with its weights' state, so that retraining asks anew."""
    folder = Path(name)
    if not folder.is_dir():
        return name
    files = [(file.name, file.stat()) for file in sorted(folder.iterdir()) if file.is_file()]
    state = repr([(file, stat.st_size, stat.st_mtime_ns) for file, stat in files])
    return f"{name}@{blake2b(state.encode(), digest_size=4).hexdigest()}"


@asynccontextmanager
async def open_local(name: str) -> AsyncIterator[Backend]:
    """A transformers model that answers chat requests.

    Args:
        name: a folder, or a name on the Hub.

    Raises:
        MissingExtraError: transformers or torch is not installed.
        TeacherError: there is no such model, or it cannot be loaded.
    """
    worker = ThreadPoolExecutor(1, "seqtune-model")
    closing, loop = Event(), asyncio.get_running_loop()
    try:
        model, tokenizer = await loop.run_in_executor(worker, _load, name)
        local = _Local(model, tokenizer, worker, closing)
        answering = asyncio.ensure_future(local.answer_all())
        try:
            yield local.ask
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
    finally:
        closing.set()
        worker.shutdown()


def _load(name: str) -> tuple[Any, Any]:
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging
    except ImportError:
        raise MissingExtraError("transformers", "train", "asking a model on this machine") from None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, padding_side="left")
        model = AutoModelForCausalLM.from_pretrained(name, dtype="auto").to(device).eval()
    except (OSError, ValueError) as error:
        fix = "write hf:FOLDER, or hf:OWNER/NAME of the Hub"
        raise TeacherError(f"the model {name!r} cannot be loaded: {shorten(str(error), 200)}", fix=fix) from None
    finally:
        if shown:
            logging.enable_progress_bar()
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    return model, tokenizer


class _Local:
    """Owns the model, and the requests that wait for it."""

    def __init__(self, model: Any, tokenizer: Any, worker: ThreadPoolExecutor, closing: Event) -> None:
        self._model, self._tokenizer, self._worker, self._closing = model, tokenizer, worker, closing
        self._context = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 1 << 20
        self._waiting: list[_Waiting] = []
        self._came = asyncio.Event()

    async def ask(self, request: Request, body: bytes, meter: Meter) -> Reply | Failed:
        return await meter.metered(request, body, partial(self._answer, request, body, meter))

    async def _answer(self, request: Request, body: bytes, meter: Meter) -> Reply | Failed:
        prepared = self._prepare(request, key_of(request, body), meter)
        if isinstance(prepared, Failed):
            return prepared
        self._waiting.append(prepared)
        self._came.set()
        return await prepared.answer

    def _prepare(self, request: Request, key: str, meter: Meter) -> _Waiting | Failed:
        if refused := _cannot(request):
            return refused
        try:
            token_ids, stop = _prompt(self._tokenizer, request)
        except Exception as error:  # templates are programs that raise what they like, as at a system prompt
            return Failed("refused", shorten(f"the chat template: {error}", 300), "ask without a system prompt")
        room = self._context - len(token_ids)
        if room < 1:
            what = f"the prompt has {len(token_ids):,} tokens, and the model takes {self._context:,}"
            return Failed("refused", what, "leave long rows out, or ask another model")
        answer = asyncio.get_running_loop().create_future()
        most = min(request.max_tokens or MAX_TOKENS, room)
        return _Waiting(request, token_ids, most, stop, key, answer, meter.stopping)

    async def answer_all(self) -> None:
        """Answer what waits, batch by batch, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._came.wait()
            await asyncio.sleep(WINDOW_S)
            self._came.clear()
            taken, self._waiting = self._waiting, []
            # Who gave up, gave up: a cancelled row needs no answer.
            for batch in _batches([one for one in taken if not one.answer.done()]):
                if batch[0].stopping.is_set():
                    _stop(batch)
                    continue
                outcomes = await loop.run_in_executor(self._worker, self._answers, batch)
                for one, outcome in zip(batch, outcomes, strict=True):
                    if not one.answer.done():
                        one.answer.set_result(outcome)

    def _answers(self, batch: Sequence[_Waiting]) -> list[Reply | Failed]:
        """The batch's outcomes in order; where memory does not do, of its halves."""
        import torch

        started = time.monotonic()
        try:
            written = _generate(self._model, self._tokenizer, batch, self._closing)
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            if half := len(batch) // 2:
                return self._answers(batch[:half]) + self._answers(batch[half:])
            return [Failed("server_error", shorten(str(error)), "ask a smaller model, or shorter prompts")]
        except Exception as error:  # a failure is data; the model may still answer others
            return [Failed("server_error", shorten(f"{type(error).__name__}: {error}", 300)) for _ in batch]
        wall_s = round(time.monotonic() - started, 4)
        return [
            judge_written(one.request, text, reason, len(one.token_ids), tokens, wall_s)
            for one, (text, reason, tokens) in zip(batch, written, strict=True)
        ]


def _stop(batch: Sequence[_Waiting]) -> None:
    """Nothing more is asked; these were not on their way yet."""
    for one in batch:
        if not one.answer.done():
            one.answer.set_exception(Stopped())


def judge_written(
    request: Request, text: str, finish_reason: str, prompt_tokens: int, completion_tokens: int, wall_s: float
) -> Reply | Failed:
    """A model's text, held to the same rules as a server's answer."""
    choice = {"message": {"content": text}, "finish_reason": finish_reason}
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    said = {"model": request.model, "choices": [choice], "usage": usage}
    return read_completion(msgspec.json.encode(said), wall_s, cut_ok=request.cut_ok)


def _cannot(request: Request) -> Failed | None:
    if any(
        not isinstance(part, Text) for m in request.messages if not isinstance(m.content, str) for part in m.content
    ):
        return Failed("refused", "a model on this machine sees no images", TEXT_ONLY)
    return None


def _prompt(tokenizer: Any, request: Request) -> tuple[list[int], tuple[str, ...]]:
    """The prompt's tokens and the stop strings: by the tokenizer's chat template, else plainly with a name a turn."""
    turns = [{"role": m.role, "content": _text_of(m.content)} for m in request.messages]
    stop = request.stop or ()
    if tokenizer.chat_template:
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return tokenizer(text, add_special_tokens=False)["input_ids"], stop  # the template wrote them
    text = "".join([f"{turn['role'].capitalize()}: {turn['content']}\n\n" for turn in turns])
    return tokenizer(f"{text}Assistant:")["input_ids"], (*stop, "\nUser:")


def _text_of(content: str | tuple[Any, ...]) -> str:
    return content if isinstance(content, str) else "\n".join([part.text for part in content])


def _batches(waiting: list[_Waiting]) -> list[list[_Waiting]]:
    """Requests of about equal length together, so that little is padding; the longest first, which fails soonest."""
    batches: list[list[_Waiting]] = []
    tokens = 0
    for one in sorted(waiting, key=lambda one: (len(one.token_ids), one.max_tokens), reverse=True):
        if not batches or len(batches[-1]) == BATCH or (len(batches[-1]) + 1) * tokens > BATCH_TOKENS:
            batches.append([])
            tokens = 0
        batches[-1].append(one)
        tokens = max(tokens, len(one.token_ids) + one.max_tokens)
    return batches


def _generate(model: Any, tokenizer: Any, batch: Sequence[_Waiting], closing: Event) -> list[_Written]:
    """What the model writes to each prompt of the batch."""
    import torch

    prompts = tokenizer.pad({"input_ids": [one.token_ids for one in batch]}, return_tensors="pt").to(model.device)
    start = prompts["input_ids"].shape[1]
    ends = _Ends(batch, tokenizer, start, closing)
    draw = [_drawing(one) for one in batch]
    with torch.inference_mode():
        ids_BT = model.generate(
            input_ids=prompts["input_ids"],
            attention_mask=prompts["attention_mask"],
            do_sample=False,
            num_beams=1,
            max_new_tokens=max(one.max_tokens for one in batch),
            logits_processor=[lambda ids, logits_BV: _chosen(logits_BV, draw)],
            stopping_criteria=[ends],
            pad_token_id=tokenizer.pad_token_id,
            # What a model's own settings add would act on top of what was asked for.
            temperature=None,
            top_p=None,
            top_k=None,
        )
    end_ids = _end_ids(model, tokenizer)
    return [ends.written(row, ids_T, end_ids) for row, ids_T in enumerate(ids_BT[:, start:].tolist())]


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    told = model.generation_config.eos_token_id
    ids = told if isinstance(told, list) else [told, tokenizer.eos_token_id if told is None else None]
    return frozenset(id_ for id_ in ids if id_ is not None)


@dataclass
class _Ends:
    """Says of each row of a batch when it is done: its own most tokens, or one of its own stop strings."""

    batch: Sequence[_Waiting]
    tokenizer: Any
    start: int
    closing: Event
    reached: dict[int, int] = field(default_factory=dict)  # row -> number of tokens up to the stop string

    def __call__(self, ids_BT: torch.Tensor, scores: object, **_: object) -> torch.Tensor:
        import torch

        count = ids_BT.shape[1] - self.start
        done = [self._done(row, ids_BT, count) or self.closing.is_set() for row in range(len(self.batch))]
        return torch.tensor(done, device=ids_BT.device)

    def _done(self, row: int, ids_BT: torch.Tensor, count: int) -> bool:
        one = self.batch[row]
        if row not in self.reached and one.stop:
            # A stop string of n characters lies within the last n tokens, or few more where tokens are bytes.
            window = 4 * max(map(len, one.stop)) + 4
            tail = self.tokenizer.decode(ids_BT[row, self.start :][-window:], skip_special_tokens=True)
            if any(stop in tail for stop in one.stop):
                self.reached[row] = count
        return row in self.reached or count >= one.max_tokens

    def written(self, row: int, ids_T: list[int], end_ids: frozenset[int]) -> _Written:
        """The row's text, up to its end."""
        one = self.batch[row]
        count = min(self.reached.get(row, one.max_tokens), len(ids_T))
        ended = next((at for at, id_ in enumerate(ids_T[:count]) if id_ in end_ids), None)
        text = self.tokenizer.decode(ids_T[: count if ended is None else ended], skip_special_tokens=True)
        if stops := [at for stop in one.stop if (at := text.find(stop)) >= 0]:
            return _Written(text[: min(stops)], "stop", count)
        if ended is not None:
            return _Written(text.strip(), "stop", ended + 1)
        return _Written(text, "abort" if self.closing.is_set() and count < one.max_tokens else "length", count)


class _Drawing(NamedTuple):
    """How one row's tokens are drawn."""

    temperature: float
    top_p: float
    top_k: int
    random: Callable[[], float]


def _drawing(one: _Waiting) -> _Drawing:
    asked = one.request
    temperature = 1.0 if asked.temperature is None else asked.temperature
    return _Drawing(temperature, 1.0 if asked.top_p is None else asked.top_p, asked.top_k or 0, Random(one.key).random)


def _chosen(logits_BV: torch.Tensor, draws: Sequence[_Drawing]) -> torch.Tensor:
    """Scores in which only the token that each row draws is left; a row at temperature 0 is left as it is.

    Sampled here and not by `generate`, whose one random state would make a reply depend on its neighbours.
    """
    import torch

    rows = [row for row, draw in enumerate(draws) if draw.temperature > 0]
    if not rows:
        return logits_BV
    drawn = [draws[row] for row in rows]

    def column(values: list[float]) -> torch.Tensor:
        return torch.tensor(values, device=logits_BV.device)[:, None]

    logits, order = logits_BV[rows].float().div(column([draw.temperature for draw in drawn])).sort(-1, descending=True)
    probs = logits.softmax(-1)
    rank = torch.arange(probs.shape[-1], device=probs.device)
    probs[(rank >= column([draw.top_k or probs.shape[-1] for draw in drawn]))] = 0
    # The nucleus: the likeliest tokens that together just reach top_p.
    before = probs.cumsum(-1) - probs
    probs[before >= column([draw.top_p for draw in drawn]) * probs.sum(-1, keepdim=True)] = 0
    sums = probs.cumsum(-1)
    at = torch.searchsorted(sums, column([draw.random() for draw in drawn]).to(sums) * sums[:, -1:], right=True)
    # A draw that rounds up to the sum itself must not leave the nucleus.
    at = at.minimum((probs > 0).sum(-1, keepdim=True) - 1)
    scores = logits_BV.clone()
    scores[rows] = torch.full_like(logits_BV[rows], -torch.inf).scatter(-1, order.gather(-1, at), 0.0)
    return scores


@asynccontextmanager
async def open_vllm(name: str) -> AsyncIterator[Backend]:
    """A vLLM engine in this process that answers chat requests; vLLM does the batching.

    Written from vLLM's documentation of `AsyncLLM`, and not run by us: it needs a GPU.

    Args:
        name: a folder, or a name on the Hub.

    Raises:
        MissingExtraError: vLLM is not installed.
        TeacherError: the engine cannot be started.
    """
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    try:
        from vllm import SamplingParams
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.engine.async_llm import AsyncLLM
    except ImportError:
        raise MissingExtraError("vllm", "vllm", "asking a model with vLLM on this machine") from None
    try:
        engine = AsyncLLM.from_engine_args(AsyncEngineArgs(model=name))
        tokenizer: Any = await _awaited(engine.get_tokenizer())
    except (OSError, ValueError, RuntimeError) as error:
        what = f"vLLM cannot start {name!r}: {shorten(str(error), 200)}"
        raise TeacherError(what, fix="write vllm:FOLDER, or serve it and give its address") from None

    async def ask(request: Request, body: bytes, meter: Meter) -> Reply | Failed:
        if refused := _cannot(request):
            return refused
        meter.admit(request, body)
        prompt_tokens = completion_tokens = 0
        started = time.monotonic()
        try:
            token_ids, stop = _prompt(tokenizer, request)
            settings = SamplingParams(
                temperature=1.0 if request.temperature is None else request.temperature,
                top_p=1.0 if request.top_p is None else request.top_p,
                top_k=request.top_k or 0,
                max_tokens=request.max_tokens or MAX_TOKENS,
                seed=int(key_of(request, body)[:8], 16),
                stop=[*stop],
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
            prompt, key = {"prompt_token_ids": token_ids}, key_of(request, body)
            async for said in engine.generate(prompt, settings, request_id=key):
                written = said.outputs[0]
            prompt_tokens, completion_tokens = len(token_ids), len(written.token_ids)
        except Exception as error:  # a failure is data; the engine may still answer others
            return Failed("server_error", shorten(f"{type(error).__name__}: {error}", 300))
        finally:
            meter.settle(prompt_tokens, completion_tokens)
        wall_s = round(time.monotonic() - started, 4)
        reason = written.finish_reason or ""
        return judge_written(request, written.text, reason, prompt_tokens, completion_tokens, wall_s)

    try:
        yield ask
    finally:
        engine.shutdown()


async def _awaited(value: Any) -> Any:
    """The value; vLLM made some of its methods plain ones and others coroutines, by version."""
    return await value if asyncio.iscoroutine(value) else value
