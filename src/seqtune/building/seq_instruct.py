"""Seq-Instruct: a teacher grows an instruction round by round, answers it, and the answer is checked step by step.

The stages are those of the paper (arXiv 2403.07794, section 3): extract, classify, rewrite, refine, respond, iterate.
`fused` asks for choice, steps and new instruction in one reply; `paper` keeps the original's calls and decoding. What
the original did not have: gates on what comes back, and a check that the answer holds every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import Struct, structs
from pydantic import Field

from seqtune.building.checking import find_result
from seqtune.building.draft import Choice, Draft
from seqtune.building.evidence import supported
from seqtune.building.gates import Refusal, refused_by
from seqtune.building.gold import Skip
from seqtune.building.parsing import (
    VERDICTS_SCHEMA,
    Said,
    read_choice,
    read_grown,
    read_instruction,
    read_parts,
    read_verdicts,
    read_yes_no,
)
from seqtune.building.prompting import few_shot_order, find_prompt, free_tag, render, tags
from seqtune.building.tasks import bare_task, split_tasks
from seqtune.building.teaching import Sampling
from seqtune.building.weaving import Means, chain
from seqtune.data.example import Example, Origin, Step, Verdict, prompt_text
from seqtune.llm.request import Message, user

# The paper's decoding, and ours: without top_k, which OpenAI's own API refuses.
PAPER = Sampling(temperature=1.0, top_p=0.9, top_k=50, max_tokens=2048)
GROW = Sampling(temperature=1.0, top_p=0.95, max_tokens=1024)
ANSWER = Sampling(temperature=0.7, top_p=0.95, max_tokens=2048)
EXACT = Sampling(temperature=0.0, max_tokens=1024)

GROWN_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "choice": {"type": "string", "enum": ["before", "after", "decompose", "keep"]},
        "steps": {"type": "array", "items": {"type": "string"}},
        "instruction": {"type": "string"},
    },
    "required": ["choice", "steps", "instruction"],
    "additionalProperties": False,
}
PARTS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"instruction": {"type": "string"}, "input": {"type": "string"}},
    "required": ["instruction", "input"],
    "additionalProperties": False,
}
MISSED = "the answer leaves a step out"
UNTOLD = "the judge could not tell whether a step was done"
LOST = "the extracted instruction and input are not the prompt's own words"


class _Way(Struct, frozen=True):
    """How one row is treated: what `seq_instruct` was told, and the row's means."""

    means: Means
    procedure: Literal["fused", "paper"]
    refine: bool
    reask: bool
    verify: bool
    gates: Sequence[str] | None
    growing: Sampling
    answering: Sampling
    order: int


@chain
async def seq_instruct(
    example: Example,
    means: Means,
    *,
    procedure: Literal["fused", "paper"] = "fused",
    rounds: Annotated[int, Field(ge=1, le=8)] = 2,
    extract: bool = False,
    refine: bool = False,
    reask: bool | None = None,
    verify: bool | None = None,
    gates: Sequence[str] | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    top_k: int | None = None,
    max_tokens: int | None = None,
) -> Example | Skip:
    """A teacher puts a task before or after the row's own or splits it, round by round, and answers the result.

    Args:
        procedure: "fused" asks for choice, steps and new instruction in one reply; "paper" makes the original's
            calls (classify, rewrite) with its decoding.
        rounds: how often a row goes round; one that the teacher keeps is frozen.
        extract: first split prompts without an input into instruction and input.
        refine: procedure "paper": ask whether the new instruction still holds all that it needs, as the original
            could.
        reask: tell the teacher once why a reply cannot be used; by default in procedure "fused".
        verify: have each step of the answer checked, with a quote as evidence; by default in procedure "fused".
        gates: only these of the gates; all by default, none for [].
        temperature, top_p, top_k, max_tokens: over the procedure's own decoding, for growing and answering.
    """
    if example.turns:
        return Skip("the row is a conversation already")
    if example.images:
        return Skip("the row has images")
    fused = procedure == "fused"
    given = Sampling(temperature, top_p, top_k, max_tokens)
    way = _Way(
        means,
        procedure,
        refine,
        fused if reask is None else reask,
        fused if verify is None else verify,
        gates,
        _over(GROW if fused else PAPER, given),
        _over(ANSWER if fused else PAPER, given),
        few_shot_order(means.seed, example.id),
    )
    # The output stays until the teacher's takes its place: with it, the first parent's id is the read row's.
    row = structs.replace(example, steps=tuple([structs.replace(step, verdict=None) for step in example.steps]))
    if extract and not row.input:
        row = await _extracted(row, way)
    for number in range(1, rounds + 1):
        grown = await _grown(row, number, way)
        if isinstance(grown, Skip):
            if number == 1:
                return grown
            break
        row = grown
        if row.origin[-1].choice == "keep":
            break
    return await _with_control(example, await _answered(row, way), way)


def _over(base: Sampling, given: Sampling) -> Sampling:
    """The base, with what was given over it."""
    return structs.replace(base, **{name: value for name, value in structs.asdict(given).items() if value is not None})


async def _extracted(row: Example, way: _Way) -> Example:
    """The row with its prompt split into instruction and input; as it was where the teacher lost or added words."""
    prompt = render("extract", way.order, instruction=row.instruction, tag=free_tag("prompt", row.instruction))
    parts, _ = await way.means.asker.ask_for(
        read_parts, prompt, stage="extract", sampling=EXACT, schema=PARTS_SCHEMA if way.procedure == "fused" else None
    )
    instruction, input = parts
    if sorted(f"{instruction} {input}".split()) != sorted(row.instruction.split()) or not instruction:
        way.means.asker.tally.gates["extract", LOST, "frozen"] += 1
        way.means.asker.taken_keys()  # of a reply that made nothing
        return row
    made = _origin(way, row, "extract", ["extract"])
    return structs.replace(row, instruction=instruction, input=input, origin=(*row.origin, made))


async def _grown(row: Example, number: int, way: _Way) -> Example | Skip:
    """The row after one round, or why what the teacher made of it cannot be used."""
    tally = way.means.asker.tally
    choice = None if way.procedure == "fused" else await _classified(row, way)
    complaint: _Complaint | None = None
    for _ in range(2 if way.reask else 1):
        asking = _fused(row, way, complaint) if choice is None else _rewritten(row, choice, way, complaint)
        draft, reply = await asking
        refused = None if draft.choice == "keep" else refused_by(draft, "instruction", way.gates)
        if refused is None:
            _count_mended(complaint, way)
            tally.chose(number, draft.choice)
            return _kept(row, draft, way, told=complaint is not None)
        complaint = _complain(refused, reply)
    assert complaint is not None
    tally.gates[complaint.gate, complaint.reason, "skipped" if number == 1 else "frozen"] += 1
    way.means.asker.taken_keys()  # of replies that made nothing
    return Skip(complaint.reason, complaint.detail, draft.instruction)


class _Complaint(NamedTuple):
    """What is wrong with a reply: for the counts, and in more words for the teacher."""

    gate: str
    reason: str
    detail: str
    reply: str


def _complain(refused: tuple[str, Refusal], reply: str) -> _Complaint:
    gate, refusal = refused
    return _Complaint(gate, refusal.reason, refusal.detail or refusal.reason, reply)


def _count_mended(complaint: _Complaint | None, way: _Way) -> None:
    if complaint:
        way.means.asker.tally.gates[complaint.gate, complaint.reason, "mended"] += 1


def _kept(row: Example, draft: Draft, way: _Way, *, told: bool) -> Example:
    grown = draft.choice != "keep"
    names = ["grow"] if way.procedure == "fused" else ["classify", *([draft.choice] if grown else [])]
    names += ["refine"] * (way.refine and way.procedure == "paper" and grown) + ["refused"] * told
    made = _origin(way, row, "seq_instruct", names, choice=draft.choice)
    if draft.choice == "keep":
        return structs.replace(row, origin=(*row.origin, made))
    return structs.replace(row, instruction=draft.instruction, steps=draft.steps, origin=(*row.origin, made))


def _origin(way: _Way, row: Example, transform: str, prompts: Sequence[str], choice: str = "") -> Origin:
    means = way.means
    return Origin(
        transform,
        means.version,
        parent=row.id,
        seed=means.seed,
        model=means.asker.model,
        prompt=", ".join(find_prompt(name).title for name in prompts),
        replies=means.asker.taken_keys(),
        choice=choice,
    )


async def _fused(row: Example, way: _Way, complaint: _Complaint | None) -> tuple[Draft, str]:
    """Choice, steps and new instruction in one reply."""
    prompt = render("grow", way.order, **_given(row), tasks=[step.text for step in row.steps])
    found, reply = await way.means.asker.ask_for(
        read_grown, _said(prompt, complaint), stage="grow", sampling=way.growing, schema=GROWN_SCHEMA
    )
    return Draft(row, found.choice, found.instruction, step_kinds(row, found.choice, found.steps)), reply


async def _classified(row: Example, way: _Way) -> Choice:
    prompt = render("classify", way.order, **_given(row))
    choice: Choice
    choice, _ = await way.means.asker.ask_for(read_choice, prompt, stage="classify", sampling=way.growing)
    return choice


async def _rewritten(row: Example, choice: Choice, way: _Way, complaint: _Complaint | None) -> tuple[Draft, str]:
    """The new instruction for a choice that was made; refined where that was asked for."""
    if choice == "keep":
        return Draft(row, choice, row.instruction, row.steps), ""
    prompt = render(choice, way.order, **_given(row))
    instruction, reply = await way.means.asker.ask_for(
        lambda text: read_instruction(text, row.instruction),
        _said(prompt, complaint),
        stage="rewrite",
        sampling=way.growing,
    )
    if way.refine:
        instruction = await _refined(row, instruction, way)
    return Draft(
        row, choice, instruction, step_kinds(row, choice, [bare_task(task) for task in split_tasks(instruction)])
    ), reply


async def _refined(row: Example, instruction: str, way: _Way) -> str:
    new_tag = free_tag("new", row.instruction, row.input, instruction)
    prompt = render("refine", 0, **_given(row), new=instruction, new_tag=new_tag)
    complete, reply = await way.means.asker.ask_for(read_yes_no, prompt, stage="refine", sampling=way.growing)
    return instruction if complete else read_instruction(reply, row.instruction) or instruction


def _given(row: Example) -> dict[str, str]:
    return {"instruction": row.instruction, "input": row.input, **tags(row.instruction, row.input)}


def _said(prompt: str, complaint: _Complaint | None) -> str | list[Message]:
    if complaint is None:
        return prompt
    return [user(prompt), Message("assistant", complaint.reply), user(render("refused", reason=complaint.detail))]


def step_kinds(row: Example, choice: Choice, texts: Sequence[str]) -> tuple[Step, ...]:
    """The tasks that a teacher lists for a new instruction, as steps: those that the row had keep their kind."""
    before = row.steps or (Step(row.instruction),)
    added = len(texts) - len(before)
    if choice == "before" and added > 0:
        return (*_new(texts[:added], "before"), *_renamed(before, texts[added:]))
    if choice == "after" and added > 0:
        return (*_renamed(before, texts[: len(before)]), *_new(texts[len(before) :], "after"))
    known = {_bare(step.text): step for step in row.steps}
    return tuple([known.get(_bare(text)) or Step(text, kind="decomposed") for text in texts])


def _new(texts: Sequence[str], kind: Literal["before", "after"]) -> list[Step]:
    return [Step(text, kind=kind) for text in texts]


def _renamed(steps: Sequence[Step], texts: Sequence[str]) -> list[Step]:
    return [structs.replace(step, text=text, mark="") for step, text in zip(steps, texts, strict=True)]


def _bare(text: str) -> str:
    return text.strip().rstrip(".").casefold()


async def _answered(row: Example, way: _Way) -> Example | Skip:
    """The row with the teacher's answer, each step of it verified; asked once more where the answer is not good."""
    tally, complaint = way.means.asker.tally, None
    for attempt in range(2 if way.reask else 1):
        text = await _respond(row, way, attempt)
        refused = _refused_answer(row, text, way)
        steps = row.steps if refused or not way.verify else await _verified(row, text, way)
        if not refused and all(step.verdict is None or step.verdict.done for step in steps):
            _count_mended(complaint, way)
            made = _origin(way, row, "respond", ["missed"] * attempt + ["judge"] * any(s.verdict for s in steps))
            return structs.replace(row, output=text, steps=steps, origin=(*row.origin, made))
        complaint = _complain(refused, text) if refused else _missed(steps, text)
    assert complaint is not None
    tally.gates[complaint.gate, complaint.reason, "skipped"] += 1
    return Skip(complaint.reason, complaint.detail, complaint.reply)


def _missed(steps: Sequence[Step], text: str) -> _Complaint:
    """What the check of an answer found: steps left out, or else steps that nobody could tell of."""
    left_out = [step for step in steps if step.verdict and step.verdict.done is False]
    listed = left_out or [step for step in steps if step.verdict and step.verdict.done is None]
    detail = "; ".join(f"{step.text} ({step.verdict.evidence})" for step in listed if step.verdict)
    return _Complaint("verify", MISSED if left_out else UNTOLD, detail, text)


def _refused_answer(row: Example, text: str, way: _Way) -> tuple[str, Refusal] | None:
    return refused_by(Draft(row, "keep", row.instruction, row.steps, text), "answer", way.gates)


async def _respond(row: Example, way: _Way, attempt: int = 0) -> str:
    """The teacher's answer; the second time, the steps are listed for it."""
    prompt = prompt_text(row)
    if attempt and row.steps:
        prompt = render("missed", prompt=prompt, tasks=[step.text for step in row.steps])
    system = [Message("system", row.system)] if row.system else []
    return await way.means.asker.ask([*system, user(prompt)], stage="respond", sampling=way.answering, attempt=attempt)


async def _verified(row: Example, answer: str, way: _Way) -> tuple[Step, ...]:
    """The steps with their verdicts: a program's where one can tell, else the judge's, whose quotes are looked up."""
    verdicts = [find_result(step, answer, given=row.input, steps=len(row.steps)) for step in row.steps]
    if None not in verdicts:
        return _with_verdicts(row.steps, verdicts)
    mark = f"----- {way.means.key:016x} -----"  # the answer's writer cannot know it, so cannot close it
    prompt = render("judge", request=prompt_text(row), tasks=[s.text for s in row.steps], answer=answer, mark=mark)
    said, _ = await way.means.asker.ask_for(
        lambda reply: read_verdicts(reply, len(row.steps)),
        prompt,
        stage="judge",
        sampling=EXACT,
        schema=VERDICTS_SCHEMA,
        judge=True,
    )
    by = way.means.asker.judge_model
    return _with_verdicts(
        row.steps, [known or _judge_verdict(one, answer, by) for known, one in zip(verdicts, said, strict=True)]
    )


def _with_verdicts(steps: Sequence[Step], verdicts: Sequence[Verdict | None]) -> tuple[Step, ...]:
    return tuple([structs.replace(step, verdict=verdict) for step, verdict in zip(steps, verdicts, strict=True)])


def _judge_verdict(said: Said, answer: str, by: str) -> Verdict:
    """A yes without a quote that stands in the answer counts as a no."""
    if said.done and not supported(said.quote, answer):
        return Verdict(False, f"the quote does not stand in the answer: {said.quote!r}", by)
    return Verdict(said.done, said.quote, by)


async def _with_control(example: Example, row: Example | Skip, way: _Way) -> Example | Skip:
    """The finished row; before that, the teacher's answer to the row as it was read, where a control set wants it."""
    if isinstance(row, Skip) or not way.means.direct:
        return row
    text = await _respond(example, way)
    if refused := _refused_answer(example, text, way):
        return Skip(f"control: {refused[1].reason}", refused[1].detail, text)
    made = _origin(way, example, "direct", [])
    way.means.control = structs.replace(example, output=text, origin=(*example.origin, made))
    return row
