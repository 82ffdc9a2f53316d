"""`train`: rows in, a run folder with a model out."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import xxhash

from seqtune.data.example import Example, messages
from seqtune.data.folder import (
    SUMMARY,
    check_folder,
    claim_folder,
    read_summary,
    versions,
    write_lines,
    write_summary,
)
from seqtune.data.lock import locked
from seqtune.data.reader import read
from seqtune.errors import DataError, RecipeError, RunFolderError, SeqtuneError, shorten
from seqtune.recipe import Document, check, refuse
from seqtune.training import processes
from seqtune.training.adapters import add_adapter, four_bits, merge_adapter, require_adapter_packages
from seqtune.training.arguments import check_arguments, trainer_arguments
from seqtune.training.card import model_card
from seqtune.training.checkpoints import CHECKPOINTS, last_whole, losses_until, step_of
from seqtune.training.loss import Loss
from seqtune.training.model import (
    PACKAGES,
    TRAINERS,
    Loaded,
    end_with_turns,
    load,
    load_tokenizer,
    model_identity,
    published_dtype,
    require_packages,
    require_vocabulary,
    save,
    tiny,
)
from seqtune.training.packing import Form, form_for
from seqtune.training.plan import Plan, plan_run, steps_of
from seqtune.training.preferring import (
    figures_after,
    figures_of,
    longest_try,
    plan_preference,
    render_preferences,
    warnings_after,
    warnings_before,
)
from seqtune.training.preflight import check_rows
from seqtune.training.rendering import Row, end_mark
from seqtune.training.rows import Rendered, render
from seqtune.training.settings import TINY, TrainSettings
from seqtune.training.templates import use_template
from seqtune.training.tracking import require_tracker
from seqtune.training.words import word_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Settings that change nothing of the result, besides the rows themselves, which are hashed one by one.
NOT_HASHED = {"dataset", "out", "strict", "overwrite", "push", "save_every", "track", "processes"}
BY_CONTENT = {"model", "tokenizer"}  # wherever they lie

Say = Callable[[Loss], object]
Tell = Callable[[str], object]


@dataclass(frozen=True)
class Training:
    """What a training made.

    Args:
        out: the run folder: model/, losses.jsonl, unused.jsonl, run.json, and adapter/ where one was merged.
        model: the folder of the trained model (or adapter), its tokenizer and its card, which transformers loads.
        parameters: weights of the model, adapter included; trained_parameters: those of them that were trained.
        rows: rows (pairs, questions) that were trained on; unused: rows of which nothing was; split: rows that lost
            their last turns.
        steps: optimiser steps.
        tokens: tokens seen, prompts and answers together, padding not counted; of dpo those of both answers, of grpo
            those of every try.
        trained_tokens: those of them that the loss was on.
        padding: share of slots that held padding; 0 for grpo, whose batches are as long as its tries become.
        packed: whether rows were packed into blocks; unfilled: share of the blocks' room that no row was in.
        chains: share of rows with two steps or more, of each epoch.
        processes: that trained together.
        resumed: the step that this run went on from after it was killed; 0 for none.
        losses: what was said on the way, as in losses.jsonl.
        seed: of the weights (where they were made here) and of the order of rows.
        wall_s: how long it took from the first step until the model was there, of the last part where it was killed on
            the way; cpu_s: processor seconds of all threads in that time.
        startup_s: how long it took before: importing torch, reading the model, rendering the rows.
    """

    out: Path
    model: Path
    parameters: int
    trained_parameters: int
    rows: int
    unused: int
    split: int
    steps: int
    tokens: int
    trained_tokens: int
    padding: float
    packed: bool
    unfilled: float
    chains: tuple[float, ...]
    processes: int
    resumed: int
    losses: tuple[Loss, ...]
    seed: int
    wall_s: float
    cpu_s: float
    startup_s: float = 0.0


def train(
    dataset: Iterable[Example] | str | Path,
    model: str | Path = TINY,
    *,
    out: str | Path,
    say: Say | None = None,
    tell: Tell | None = None,
    **options: Any,
) -> Training:
    """Fine-tune a model on rows: on their answers and end tokens only, or by preference (methods dpo and grpo).

    A training that was killed goes on from its last checkpoint; one that is finished is not done again.

    Args:
        dataset: Examples, or a file of rows.
        model: "tiny" (from scratch, with a tokenizer made from the rows), a local folder, or a hub id.
        out: the run folder.
        say: called with a Loss every few steps.
        tell: called with what the user should know besides: a checkpoint that is torn, rows that cannot be packed.
        options: any other setting of a recipe's `train:` section: method, epochs, seed, ...; see `TrainSettings`.

    Raises:
        RecipeError: a setting or a model that cannot be used.
        DataError: no row to train on, or a row that would be trained wrongly; with `strict`, any row left out.
        RunFolderError: the folder holds something else, or cannot be written.
        SeqtuneError: the loss is no number any more, or memory ran out.
        MissingExtraError: torch, transformers, TRL, PEFT or bitsandbytes is needed and not installed.
    """
    require_packages("training", TRAINERS)
    settings = resolve(dataset, model, out, options)
    require_adapter_packages(settings.adapter)
    require_tracker(settings.track)
    if settings.push:
        _require_token(settings.push)
    _join(settings)
    silent = not processes.is_main()
    return _run(settings, dataset, None if silent else say, _ignore if silent or tell is None else tell)


def _join(settings: TrainSettings) -> None:
    """Meet the other processes, where the method can share its work.

    Raises:
        RecipeError: it cannot, or the launcher started another number than was asked for.
    """
    if settings.prefers and processes.count() > 1:
        raise RecipeError(
            f"{processes.count()} processes started, and method {settings.method} runs in one",
            fix="start it without a launcher",
        )
    processes.join(settings.processes)


def tokenizer_of(settings: TrainSettings, examples: Sequence[Example]) -> PreTrainedTokenizerBase:
    """The tokenizer that a training's rows go through, with the chat template that was asked for.

    Raises:
        RecipeError: no model there, or a template that it cannot use.
    """
    if settings.model != TINY:
        tokenizer = load_tokenizer(settings.model)
    elif settings.tokenizer:
        tokenizer = load_tokenizer(settings.tokenizer)
    else:
        tokenizer = tiny_tokenizer(examples)
    use_template(tokenizer, settings.template, settings.tokenizer or settings.model)
    end_mark(tokenizer)  # raises where there is none
    return tokenizer


def tiny_tokenizer(examples: Iterable[Example]) -> PreTrainedTokenizerBase:
    """A word-level tokenizer that knows the words of the rows."""
    texts = (message["content"] for example in examples for message in messages(example))
    return word_tokenizer(text for text in texts if isinstance(text, str))


def read_examples(dataset: Iterable[Example] | str | Path) -> list[Example]:
    """The rows of a file, or those given.

    Raises:
        DataError: there are none.
    """
    examples = list(read(str(dataset)) if isinstance(dataset, (str, Path)) else dataset)
    if not examples:
        raise DataError("there is no row to train on", fix="give a file or a list with at least one row")
    return examples


def resolve(
    dataset: Iterable[Example] | str | Path, model: str | Path, out: str | Path, options: dict[str, Any]
) -> TrainSettings:
    """The settings of a training, every default filled in.

    Raises:
        RecipeError: a setting that is not known, or cannot be, or a model that is an adapter.
    """
    source = str(dataset) if isinstance(dataset, (str, Path)) else "rows given in Python"
    values = {"dataset": source, "model": model, "out": out, **options}
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
    found, problems = check(Document({}), ("train",), plain, TrainSettings)
    refuse(problems)
    assert found
    _refuse_adapter(found.model)
    return found.resolved()


def _refuse_adapter(model: str) -> None:
    """Raises RecipeError for the folder of an adapter: transformers puts it on its model frozen, to answer with."""
    if (Path(model) / "adapter_config.json").is_file():
        raise RecipeError(
            f"train.model is {model!r}, which is an adapter and no whole model",
            fix="write it into its model first: run its training with merge, and give the folder of what comes out",
        )


def _ignore(_: object) -> None:
    """What nobody wants to be told."""


def _run(settings: TrainSettings, dataset: Iterable[Example] | str | Path, say: Say | None, tell: Tell) -> Training:
    """Render, check, plan, optimise, save; nothing is written before the rows and the settings are known to be good."""
    began = time.perf_counter()
    folder = Path(settings.out)
    bfloat16 = computes_in_16_bits(settings)
    tokenizer, rendered = rendered_rows(settings, dataset)
    fingerprint = _fingerprint(settings, rendered.rows)
    if done := None if settings.overwrite else _finished(folder, fingerprint):
        tell(f"{folder}: this training is finished already; overwrite makes it again")
        if settings.push and processes.is_main():
            _push(done.model, settings.push)
        return done
    loaded = _loaded(settings, tokenizer, bfloat16)
    plan = planned(settings, rendered, _form(settings, loaded, rendered.rows, tell))
    check_settings(settings, rendered, plan, bfloat16)
    for line in warnings_before(settings, rendered.rows):
        tell(line)
    optimise = _optimiser(settings)
    with _claimed(folder, fingerprint, settings.overwrite):
        if processes.is_main():
            write_lines(folder / "unused.jsonl", rendered.unused)
        processes.wait()
        wall, cpu = time.perf_counter(), time.process_time()
        losses, resumed = _optimised(optimise, loaded, rendered.rows, plan, settings, bfloat16, fingerprint, say, tell)
        spent = time.perf_counter() - wall, time.process_time() - cpu, wall - began
        training = _described(settings, loaded, rendered, plan, losses, resumed, *spent)
        if processes.is_main():
            _save(loaded, settings, training, rendered)
            write_summary(folder, _summary(training, settings, fingerprint))
            shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
        processes.wait()
    for line in warnings_after(settings, losses):
        tell(line)
    return training


def check_settings(settings: TrainSettings, rendered: Rendered[Any], plan: Plan, bfloat16: bool) -> None:
    """Raises RecipeError for a value in `trl:` that TRL, transformers or torch refuses."""
    if settings.trl:
        steps, longest = len(plan.steps), longest_try(settings, rendered.rows) if settings.method == "grpo" else None
        arguments = trainer_arguments(
            settings, steps=steps, bfloat16=bfloat16, folder=Path(settings.out), longest_try=longest
        )
        check_arguments(arguments, settings, steps)


def _finished(folder: Path, fingerprint: str) -> Training | None:
    """The training that stands in a folder, if it is this one, came to its end, and its model is still there."""
    try:
        summary = read_summary(folder)
        if summary.get("fingerprint") != fingerprint or not any((folder / "model").glob("*.safetensors")):
            return None
        places = {"out": folder, "model": folder / "model", "losses": ()}
        done = msgspec.convert({**summary, **places}, Training)
        return replace(done, losses=tuple(losses_until(folder / "losses.jsonl", done.steps)))
    except (RunFolderError, msgspec.DecodeError, msgspec.ValidationError):
        return None  # what cannot be read is made again


@contextmanager
def _claimed(folder: Path, fingerprint: str, overwrite: bool) -> Iterator[None]:
    """The run folder, for as long as the main process writes into it: no other may do so meanwhile.

    Raises:
        RunFolderError: it holds something else, or another process is at work there.
    """
    if not processes.is_main():
        yield
        return
    overwrite = overwrite or _holds_nothing(folder)
    check_folder(folder, "train", fingerprint, overwrite=overwrite)
    with locked(folder):
        claim_folder(folder, "train", fingerprint, overwrite=overwrite)
        yield


def _holds_nothing(folder: Path) -> bool:
    """Whether all that stands in a folder is a training that was stopped before its first checkpoint."""
    try:
        summary = msgspec.json.decode((folder / SUMMARY).read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return False
    begun = summary.get("command") == "train" and not summary.get("finished")
    return begun and not (folder / "model").exists() and not any((folder / CHECKPOINTS).glob("checkpoint-*"))


def rendered_rows(
    settings: TrainSettings, dataset: Iterable[Example] | str | Path
) -> tuple[PreTrainedTokenizerBase, Rendered[Any]]:
    """The tokenizer of a training, and its rows, known to be good: `Row`s, or what `render_preferences` makes of them.

    Raises:
        RecipeError: no model there, or a template that it cannot use.
        DataError: no row to train on, or a row that would be trained wrongly; with `strict`, any row left out.
    """
    examples = read_examples(dataset)
    tokenizer = tokenizer_of(settings, examples)
    if settings.prefers:
        return tokenizer, render_preferences(settings, examples, tokenizer)
    rendered = render(
        examples, tokenizer, max_length=settings.max_length, too_long=settings.too_long, strict=settings.strict
    )
    check_rows(rendered.rows, rendered.examples, tokenizer)
    return tokenizer, rendered


def planned(settings: TrainSettings, rendered: Rendered[Any], form: Form | None) -> Plan:
    """The plan of a run by its settings.

    Args:
        settings: resolved.
        rendered: the rows.
        form: how they are packed, None for padded batches.

    Raises:
        DataError: fewer rows than a step of dpo or grpo takes.
    """
    if settings.prefers:
        return plan_preference(len(rendered.rows), settings)
    return plan_run(
        [len(row.ids) for row in rendered.rows],
        batch_tokens=settings.batch_tokens or 0,
        seed=settings.seed,
        epochs=settings.epochs,
        max_tokens=settings.max_tokens,
        rows_per_step=settings.rows_per_step,
        accumulate=settings.accumulate,
        form=form,
        first=[*map(steps_of, rendered.examples)] if settings.order == "short_chains_first" else None,
    )


def _form(settings: TrainSettings, loaded: Loaded, rows: Sequence[Row], tell: Tell) -> Form | None:
    """How rows are to be packed, None where they are not to be, or this model would let them see each other."""
    if not settings.packing:
        return None
    if not processes.sharding():  # where weights are to be spread, one device may not hold them all
        processes.to_device(loaded.model)
    form = form_for(loaded.model, rows, seed=settings.seed)
    if form is None:
        kind = loaded.model.config.model_type
        tell(f"{settings.model}: packed rows would see each other in this model ({kind}), so they are not packed")
    return form


def _described(
    settings: TrainSettings,
    loaded: Loaded,
    rendered: Rendered[Any],
    plan: Plan,
    losses: Sequence[Loss],
    resumed: int,
    wall_s: float,
    cpu_s: float,
    startup_s: float,
) -> Training:
    """The figures of a training that is over."""
    folder = Path(settings.out)
    return Training(
        out=folder,
        model=folder / "model",
        parameters=loaded.model.num_parameters(),
        trained_parameters=sum(weight.numel() for weight in loaded.model.parameters() if weight.requires_grad),
        **{**plan_figures(settings, rendered, plan), **figures_after(settings, rendered.rows, plan, losses)},
        packed=plan.form is not None,
        processes=processes.count(),
        resumed=resumed,
        losses=tuple(losses),
        seed=settings.seed,
        wall_s=wall_s,
        cpu_s=cpu_s,
        startup_s=startup_s,
    )


def plan_figures(settings: TrainSettings, rendered: Rendered[Any], plan: Plan) -> dict[str, Any]:
    """What a run takes, by the names that `Training` and `Outlook` have for it."""
    tokens = (figures_of if settings.prefers else _token_figures)(settings, rendered.rows, plan)
    return {
        "rows": len(rendered.rows),
        "unused": rendered.left_out,
        "split": len(rendered.unused) - rendered.left_out,
        "steps": len(plan.steps),
        "chains": tuple(plan.chains(rendered.examples)),
        **tokens,
    }


def _token_figures(settings: TrainSettings, rows: Sequence[Row], plan: Plan) -> dict[str, Any]:
    lengths = [len(row.ids) for row in rows]
    seen = [rows[i] for batch in plan.batches for i in batch]
    return {
        "tokens": sum(len(row.ids) for row in seen),
        "trained_tokens": sum(len(row.trained) for row in seen),
        "padding": plan.padding(lengths),
        "unfilled": plan.unfilled(lengths, settings.batch_tokens or 0),
    }


def _loaded(settings: TrainSettings, tokenizer: PreTrainedTokenizerBase, bfloat16: bool) -> Loaded:
    """The model as the method trains it: whole in 32 bits, or in fewer with an adapter on it."""
    import torch
    import transformers

    compute = torch.bfloat16 if bfloat16 else torch.float32
    if settings.model == TINY:
        loaded = Loaded(tiny(tokenizer, seed=settings.seed, longest=settings.max_length), tokenizer)
    elif settings.method == "qlora":
        loaded = Loaded(load(settings.model, dtype=compute, quantisation=four_bits(compute)).model, tokenizer)
    else:
        # 16 bits lose the small steps of the optimiser, so whatever is trained is in 32.
        dtype = compute if settings.adapter else "float32"
        loaded = Loaded(load(settings.model, dtype=dtype).model, tokenizer)
    require_vocabulary(loaded, settings.model)
    end_with_turns(loaded)
    if settings.adapter is None or settings.lora is None:
        return loaded
    transformers.set_seed(settings.seed)
    again = settings.gradient_checkpointing
    adapted = add_adapter(loaded.model, settings.lora, settings.adapter, checkpointing=again)
    if Path(settings.model).is_dir():  # else the adapter would load only where this command was run
        adapted.peft_config["default"].base_model_name_or_path = str(Path(settings.model).resolve())
    return loaded._replace(model=adapted)


def computes_in_16_bits(settings: TrainSettings) -> bool:
    """Whether the precision that was asked for is bfloat16, or is on this device.

    Raises:
        RecipeError: the device does not have what was asked for.
    """
    import torch

    if torch.cuda.is_available():
        has_it = torch.cuda.is_bf16_supported(including_emulation=False)
        if settings.precision == "bfloat16" and not has_it:
            name = torch.cuda.get_device_name()
            raise RecipeError(f"train.precision is bfloat16, which {name} does not have", fix="set it to float32")
        return has_it and settings.precision != "float32"
    if settings.trl.get("use_liger_kernel"):
        raise RecipeError("train.trl.use_liger_kernel needs a GPU, and there is none here", fix="leave it out")
    return settings.precision == "bfloat16"


def _optimised(
    optimise: Callable[..., None],
    loaded: Loaded,
    rows: Sequence[Any],
    plan: Plan,
    settings: TrainSettings,
    bfloat16: bool,
    fingerprint: str,
    say: Say | None,
    tell: Tell,
) -> tuple[list[Loss], int]:
    """Train to the end, from the last whole checkpoint if there is one; gives all losses and that checkpoint's step."""
    folder = Path(settings.out)
    checkpoint = last_whole(folder / CHECKPOINTS, fingerprint, tell)
    if checkpoint:
        tell(f"{checkpoint}: the run goes on from here")
    losses = losses_until(folder / "losses.jsonl", step_of(checkpoint))
    before_s = losses[-1].wall_s if losses else 0.0
    with _lines_after(folder / "losses.jsonl", losses) as write:

        def note(loss: Loss) -> None:
            losses.append(loss)
            write(loss)
            if say:
                say(loss)

        optimise(
            loaded,
            rows,
            plan,
            settings,
            bfloat16=bfloat16,
            folder=folder,
            say=note,
            fingerprint=fingerprint,
            checkpoint=checkpoint,
            before_s=before_s,
        )
    return losses, step_of(checkpoint)


def _optimiser(settings: TrainSettings) -> Callable[..., None]:
    """What trains by the method; importing it imports torch, transformers and TRL."""
    if settings.prefers:
        from seqtune.training.preference import optimise_preference

        return optimise_preference
    from seqtune.training.trainer import optimise

    return optimise


@contextmanager
def _lines_after(path: Path, losses: Sequence[Loss]) -> Iterator[Say]:
    """What writes lines after those that a file is to begin with; only the main process does."""
    if not processes.is_main():
        yield _ignore
        return
    write_lines(path, losses)
    with path.open("ab", buffering=0) as file:  # unbuffered, for whoever watches the run
        yield lambda loss: file.write(msgspec.json.encode(loss) + b"\n")


def _save(loaded: Loaded, settings: TrainSettings, training: Training, rendered: Rendered[Any]) -> None:
    """Write the model with its card: whole, as an adapter, or both where the adapter is merged."""
    figures = {
        name: getattr(training, name)
        for name in ("parameters", "trained_parameters", "rows", "unused", "split", "steps", "tokens", "trained_tokens")
    }
    base = "" if settings.model == TINY or Path(settings.model).exists() else settings.model
    card = model_card(settings, figures, rendered.examples, training.losses, base)
    if settings.merge:
        save(loaded, training.out / "adapter")
        merged = merge_adapter(settings.model, training.out / "adapter")
        merged.generation_config = loaded.model.generation_config
        loaded = Loaded(merged, loaded.tokenizer)
    if settings.model != TINY and (settings.merge or not settings.adapter):
        loaded.model.to(published_dtype(settings.model))
    save(loaded, training.model, card=card)
    if settings.push:
        _push(training.model, settings.push)


def _require_token(repository: str) -> None:
    """Raises RecipeError before anything is trained where the hub could not be written to."""
    from huggingface_hub import get_token

    if repository.count("/") != 1 or not all(repository.split("/")):
        raise RecipeError(f"train.push is {repository!r}", fix="give NAME/REPOSITORY")
    if not get_token():
        raise RecipeError(f"train.push is {repository!r}, and no token for the hub is here", fix="run 'hf auth login'")


def _push(folder: Path, repository: str) -> None:
    """Send the model to the hub, into a private repository where there is none of the name yet."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api = HfApi()
        api.create_repo(repository, private=True, exist_ok=True)
        api.upload_folder(folder_path=str(folder), repo_id=repository)
    except (HfHubHTTPError, OSError) as error:
        what = f"the model could not be sent to {repository!r}: {shorten(error, 160)}"
        raise SeqtuneError(what, where=str(folder), fix=f"it is whole there: hf upload {repository} {folder}") from None


def _fingerprint(settings: TrainSettings, rows: Iterable[Any]) -> str:
    """The same for the same model, settings and rows (or pairs, by what was done to them) in the same order."""
    found = xxhash.xxh3_128(settings.model_dump_json(exclude=NOT_HASHED | BY_CONTENT).encode())
    for model in (settings.model, settings.tokenizer):
        found.update(f"{model_identity(model) if model else ''}\x1e".encode())
    for row in rows:
        found.update(row.id.encode())
    return found.hexdigest()


def _summary(training: Training, settings: TrainSettings, fingerprint: str) -> dict[str, Any]:
    """What run.json says; it is written last, so a killed run never looks finished."""
    import torch

    result = msgspec.to_builtins(training, enc_hook=str)
    del result["losses"]  # they have a file of their own
    head = {"command": "train", "fingerprint": fingerprint, "finished": True}
    tail = {"threads": torch.get_num_threads(), "versions": versions(*PACKAGES, *TRAINERS)}
    return {**head, "settings": settings.model_dump(mode="json"), **result, **tail}
