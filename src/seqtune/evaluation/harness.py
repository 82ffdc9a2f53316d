"""Standard benchmarks through lm-evaluation-harness (MMLU, ARC, ...), their results as figures like all others.

Its tasks, prompts and metrics are its own; a model goes in as everywhere in seqtune, and figures come out with our
intervals. Importing it takes seconds, so nothing else imports this module's packages.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from math import isnan
from numbers import Real
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from pydantic import Field

from seqtune.data.folder import replacing, write_json
from seqtune.errors import MissingExtraError, RecipeError, SeqtuneError, did_you_mean, shorten
from seqtune.evaluation.answers import model_name
from seqtune.evaluation.figures import Figures, measure
from seqtune.evaluation.statistics.measure import Measure
from seqtune.llm.endpoint import find_key, parse_endpoints
from seqtune.training.model import Loaded, load, require_packages
from seqtune.training.rendering import require_template

OUR_TASKS = Path(__file__).parent / "hosts" / "lm_eval"
OURS = "seqtune_"  # what the names of our own tasks begin with
OTHERS = ("vllm:", "litellm:", "scripted:")  # models that only seqtune knows how to ask
REACH = 1.96  # standard errors to either side: 95 % of a normal distribution

Results = Mapping[str, Any]
Sample = Mapping[str, Any]


def run_harness(
    model: str | Path | Loaded,
    tasks: Sequence[str],
    *,
    out: str | Path,
    limit: Annotated[int, Field(gt=0)] | None = None,
    batch_size: int = 8,
    data: str | Path | None = None,
    chat_template: bool = True,
    allow_code: bool = False,
) -> list[Figures]:
    """Let a model do tasks of lm-evaluation-harness, and write what came out.

    Args:
        model: a local folder (an adapter's too), a hub id, a loaded model, or one served (http://HOST/v1#MODEL).
        tasks: names of tasks or groups, e.g. "arc_challenge", "mmlu"; ours begin with "seqtune_".
        out: the folder for metrics.json, harness.json (all that the harness says) and samples_TASK.jsonl.
        limit: items a task at most, for trying out.
        batch_size: items at once; of a served model, requests at once.
        data: of our tasks, where the suite's data lie; of others, a folder with the task's rows, a file for each split
            ("test.jsonl"), or with such a folder under the task's name. By default the hub's, or its cache.
        chat_template: whether prompts go through the model's template; of a served model, whether it is asked as a
            chat, which cannot do tasks that compare probabilities (ARC, MMLU, HellaSwag).
        allow_code: run what the model writes, where a task scores programs (HumanEval). It runs without a sandbox.

    Returns:
        One a task, then one a group of tasks.

    Raises:
        RecipeError: no such task or model, data that cannot be had, or a task that this model cannot do.
        MissingExtraError: lm-eval is not installed.
    """
    if find_spec("lm_eval") is None:
        raise MissingExtraError("lm-eval", "eval", "a suite lm_eval:...")
    import lm_eval

    chosen = _load_tasks(tasks, data, allow_code)
    asked = (
        _served(str(model), batch_size, chat_template)
        if _is_served(model)
        else _local(model, batch_size, chat_template)
    )
    try:
        found: Results = lm_eval.simple_evaluate(
            model=asked,
            tasks=chosen,
            limit=limit,
            bootstrap_iters=1000,  # only for metrics that are no mean; its default of 100,000 takes seconds each
            apply_chat_template=chat_template,
            confirm_run_unsafe_code=allow_code,
        )
    except NotImplementedError:
        raise RecipeError(
            f"one of {', '.join(tasks)} compares probabilities of answers, which no chat can be asked for",
            fix="give the model itself, or chat_template=False for an address that returns logprobs of the prompt",
        ) from None
    lines = harness_figures(found)
    _write(Path(out), model_name(model), tasks, found, lines)
    return lines


# --- tasks


def _load_tasks(names: Sequence[str], data: str | Path | None, allow_code: bool) -> list[Any]:
    from lm_eval.tasks import TaskManager

    manager = TaskManager(
        include_path=str(OUR_TASKS),
        include_defaults=not all(name.startswith(OURS) for name in names),  # reading its 14,000 takes seconds
        metadata={"data": str(data)} if data else {},
    )
    found: list[Any] = []
    for name in names:
        if name not in manager.all_tasks:
            hint = did_you_mean(name, manager.all_tasks)
            raise RecipeError(f"lm-eval has no task {name!r}{hint}", fix="`lm-eval ls tasks` lists them")
        loaded = _load_task(manager, name, None if name.startswith(OURS) else data)
        for task in loaded["tasks"].values():
            _refuse_code(task, allow_code)
        top = loaded["groups"].get(name)
        found += [top] if top else loaded["tasks"].values()
    return found


def _load_task(manager: Any, name: str, data: str | Path | None) -> Any:
    """The task with its rows, which the harness fetches right away.

    Raises:
        RecipeError: they cannot be had.
    """
    try:
        return _load_from(manager, name, data) if data else manager.load([name])
    except SeqtuneError:
        raise
    except Exception as error:  # whatever the harness, datasets, or a task's own code raises
        raise RecipeError(
            f"task {name!r} of lm-eval cannot be loaded ({type(error).__name__}: {shorten(str(error), 200)})",
            fix="its rows come from the Hugging Face hub: without network, load it once where there is one and copy "
            "the cache (set HF_HOME to it, and HF_HUB_OFFLINE=1), or give --data FOLDER with its rows",
        ) from None


def _load_from(manager: Any, name: str, data: str | Path) -> Any:
    """A task with its rows from a folder: the harness takes a file that includes the task's own and says another."""
    file = manager.task_index[name].yaml_path
    if not file or name not in manager.all_subtasks:
        raise RecipeError(
            f"{name!r} of lm-eval is a group of tasks, and --data holds the rows of one", fix="name its tasks"
        )
    own = Path(data) / name
    folder = (own if own.is_dir() else Path(data)).resolve()
    changed = {"include": str(file), "task": name, "dataset_path": str(folder), "dataset_name": None}
    with TemporaryDirectory() as place:
        spec = Path(place) / f"{name}.yaml"
        spec.write_text(json.dumps(changed), "utf-8")  # JSON is YAML too
        return manager.load([str(spec)])


def _refuse_code(task: Any, allowed: bool) -> None:
    if getattr(task, "UNSAFE_CODE", False) and not allowed:
        raise RecipeError(
            f"task {task.task_name!r} runs programs that the model writes, without a sandbox",
            fix="run it in a container, with allow_code=True and HF_ALLOW_CODE_EVAL=1",
        )


# --- models


def _is_served(model: str | Path | Loaded) -> bool:
    if isinstance(model, str) and model.startswith(OTHERS):
        raise RecipeError(
            f"lm-eval cannot ask {model!r}",
            fix="give a folder, a hub id, or an address: http://127.0.0.1:8000/v1#MODEL",
        )
    return isinstance(model, str) and model.startswith(("http://", "https://"))


def _local(model: str | Path | Loaded, batch_size: int, chat_template: bool) -> Any:
    """A model in this process, loaded as training and answering load it: adapters on, safetensors only."""
    require_packages("a suite lm_eval:...")
    import torch
    from lm_eval.models.huggingface import HFLM

    loaded = model if isinstance(model, Loaded) else load(str(model).removeprefix("hf:"))
    if chat_template:
        require_template(loaded.tokenizer, model_name(model))
    loaded.model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    return HFLM(
        pretrained=loaded.model,
        tokenizer=loaded.tokenizer,
        batch_size=batch_size,
        enable_thinking=False if chat_template else None,
    )


def _served(spec: str, at_once: int, chat_template: bool) -> Any:
    """A model at an OpenAI-compatible address."""
    from lm_eval.models.openai_completions import LocalChatCompletion, LocalCompletionsAPI

    endpoint = parse_endpoints(spec)[0]
    key = find_key(endpoint.url)
    how = {
        "model": endpoint.model,
        "num_concurrent": at_once,
        # Without a header of ours, lm-eval would send OPENAI_API_KEY to whatever address is named.
        "header": {"Authorization": f"Bearer {key}"} if key else {"Accept": "application/json"},
    }
    try:
        if chat_template:
            return LocalChatCompletion(base_url=f"{endpoint.url}/chat/completions", **how)
        return LocalCompletionsAPI(base_url=f"{endpoint.url}/completions", **how)
    except (OSError, ValueError, ModuleNotFoundError) as error:
        fix = "pip install 'lm-eval[api]'; without chat the model's name must be one whose tokenizer can be loaded"
        raise RecipeError(f"lm-eval cannot ask {spec} ({shorten(error, 200)})", fix=fix) from None


# --- figures


def harness_figures(found: Results) -> list[Figures]:
    """What `lm_eval.simple_evaluate` returned (with samples), as figures: one a task, then one a group.

    Where a metric is the mean of its items' values, the interval is ours, for shares; else it is made of the harness's
    standard error.
    """
    groups = found.get("groups") or {}
    samples = found.get("samples") or {}
    of = {name: counts["effective"] for name, counts in found["n-samples"].items()}
    lines = [_figures(name, found["results"][name], of[name], samples.get(name, ())) for name in of]
    members = found.get("group_subtasks") or {}
    return lines + [
        _figures(name, line, sum(of[one] for one in _tasks_of(name, members, of)), ()) for name, line in groups.items()
    ]


def _tasks_of(group: str, members: Mapping[str, Sequence[str]], tasks: Iterable[str]) -> set[str]:
    """The tasks of a group, also those of groups in it."""
    inside = {one for name in members.get(group, ()) for one in _tasks_of(name, members, tasks)}
    return inside | ({group} & set(tasks))


def _figures(name: str, line: Results, items: int, samples: Sequence[Sample]) -> Figures:
    return Figures(
        group=name,
        steps=None,
        items=items,
        measures=dict(_measures(line, items, samples)),
        by_position=(),
        answered=items,
        cut=0,
        mean_tokens=None,
        unscored_steps=0,
    )


def _measures(line: Results, items: int, samples: Sequence[Sample]) -> Iterator[tuple[str, Measure]]:
    """Of a line like {"acc,none": 0.5, "acc_stderr,none": 0.1} the metrics; behind the comma stands a filter's name."""
    for key, value in line.items():
        metric, comma, filtered = key.partition(",")
        if not comma or metric.endswith("_stderr") or not isinstance(value, Real):
            continue
        name = metric if filtered == "none" else f"{metric}:{filtered}"
        values = _values(samples, metric, filtered)
        error = line.get(f"{metric}_stderr,{filtered}")
        yield name, _mean_of(values, float(value)) or _about(float(value), error, items)


def _values(samples: Sequence[Sample], metric: str, filtered: str) -> list[float | None]:
    """The items' values of a metric, None where it could not be told; none where they are no numbers."""
    found = [sample[metric] for sample in samples if sample.get("filter") == filtered and metric in sample]
    if not all(isinstance(value, Real) for value in found):
        return []
    return [None if isnan(value) else float(value) for value in found]


def _mean_of(values: Sequence[float | None], value: float) -> Measure | None:
    """A share with its interval, where the metric is the mean of values from 0 to 1."""
    told = [one for one in values if one is not None]
    if not told or not all(0 <= one <= 1 for one in told):
        return None
    # The harness may aggregate otherwise, e.g. an F1 over all items.
    return measure("", values) if abs(sum(told) / len(told) - value) < 1e-6 else None


def _about(value: float, error: object, items: int) -> Measure:
    """A value that is no mean of items, with what its standard error says; where there is none, nothing is known."""
    if isnan(value):
        return Measure(0.0, 0, None, 0.0, 1.0, items, 0.0, 1.0)
    known = isinstance(error, Real) and not isnan(error)
    is_share = 0 <= value <= 1
    reach = REACH * float(error) if known and isinstance(error, Real) else float("inf")
    low, high = value - reach, value + reach
    if is_share:
        low, high = max(low, 0.0), min(high, 1.0)
    return Measure(value * items, items, value, low, high)


# --- files


def _write(out: Path, model: str, tasks: Sequence[str], found: Results, lines: Sequence[Figures]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name, samples in (found.get("samples") or {}).items():
        with replacing(out / f"samples_{name}.jsonl") as file:
            file.writelines(_line(sample) for sample in samples)
    with replacing(out / "harness.json") as file:
        file.write(_line({key: value for key, value in found.items() if key != "samples"}))
    write_json(out / "metrics.json", {"suite": f"lm_eval:{','.join(tasks)}", "model": model, "figures": lines})


def _line(value: object) -> bytes:
    """As JSON; what the harness keeps may hold functions and types, which are written as their names."""
    return (json.dumps(value, ensure_ascii=False, default=str) + "\n").encode("utf-8", "surrogatepass")
