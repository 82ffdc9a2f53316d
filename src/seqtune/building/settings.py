"""What a build may be told: the `build:` section of a recipe, the same words as on the command line and in Python."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Annotated, Any, Literal

from pydantic import Field

from seqtune.building.gates import gates
from seqtune.building.gold import operations
from seqtune.building.manual import WRITTEN
from seqtune.building.mix import PLAIN, THOUGHTS, Mix, Portion
from seqtune.building.table import open_table
from seqtune.building.weaving import Chain, chains
from seqtune.errors import did_you_mean
from seqtune.recipe import Document, Location, Strict, check, options_model

TASK_NAMES = ("answer", *WRITTEN)  # steps that are no operation

SHARED = ("parallel", "paraphrases", "rounds")  # said once for the build, for every chain that takes them

Share = Annotated[float, Field(gt=0, le=1)]


class ChainSettings(Strict):
    """What every chain may be told; its own options come beside these.

    Args:
        chain: a chain's name, an operation's name, or several steps joined with "+" ("repeat+paraphrase").
        share: share of the rows, 0 to 1; those without one divide what the others leave.
        style: how the parts of the answer are marked.
        dialogue: a turn a task, in place of one instruction that asks for all.
    """

    chain: str
    share: Share | None = None
    style: Literal["labelled", "numbered", "steps", "plain", "mixed"] = "labelled"
    dialogue: bool = False


class ThoughtSettings(Strict):
    """The `thoughts:` part: chain-of-thought rows that come into the result as they are.

    Args:
        from_: a file, a folder, a hub id, or a list of these ("from" in YAML); taken in their order, as far as needed.
        share: of the examples written, 0 to 1.
        format, columns: as for the rows of the build.
    """

    from_: str | list[str] = Field(alias="from")
    share: Annotated[float, Field(gt=0, lt=1)]
    format: str = "auto"
    columns: dict[str, str] = Field(default_factory=dict)

    @property
    def sources(self) -> list[str]:
        """What is read, one after the other."""
        return [self.from_] if isinstance(self.from_, str) else self.from_


class BuildSettings(Strict):
    """The `build:` section.

    Args:
        from_: a file, a folder saved by `datasets`, a hub id, or a list of these ("from" in YAML).
        format: what the rows are; found from the content by default.
        columns: our name -> the file's column, e.g. {"instruction": "prompt"}.
        chains: the chains of the mix, by name or with options.
        plain: share of rows that stay as they are; what the chains' shares leave by default.
        thoughts: chain-of-thought rows spread evenly among the others, {"from": FILE, "share": 0.1}: so much of the
            examples written, and of the control set; taken in the file's order (shuffle a sorted one), none twice.
            Where the file ends first there are fewer, and it is said. "format" and "columns" as for the other rows.
        parallel: the same rows in another language, for the chains that translate.
        paraphrases: rows with paraphrases of the inputs, for the chains that paraphrase.
        unfit: what becomes of a row that no chain fits.
        duplicates: what becomes of a row that was there before with the same content and own id.
        control: write the same rows unchained beside the result; with "tokens", repeated up to as many tokens; with
            "direct", answered by the same teacher that answers the chains.
        seed: of every draw.
        limit: read at most this many rows.
        strict: stop at the first bad row.
        llm: the teacher that chains ask: http://127.0.0.1:8000/v1#MODEL, hf:PATH_OR_ID, ... ; several addresses of one
            model share the work.
        judge: who says whether an answer holds every step; the teacher by default.
        rounds: how often Seq-Instruct grows a row, where its own options do not say.
        contamination: files of evaluation prompts; rows that share a run of words with them are skipped.
        near_duplicates: what becomes of a teacher's row that is nearly an earlier one.
        store: the reply store; the user's own by default.
        concurrency: the most requests in flight.
        adaptive: fewer of them while the server refuses for load.
        timeout_s: of one try, from the request to the last byte of the reply.
        batch: through the server's batch API, at half the price, within a day.
        max_cost: the most US dollars that may be spent.
        max_tokens: the most tokens, read and written.
        max_requests: the most requests, tries again included.
        price: US dollars for a million tokens read and a million written, "0.15,0.60"; looked up by default.
        out: the run folder.
    """

    from_: str | list[str] = Field(alias="from")
    format: str = "auto"
    columns: dict[str, str] = Field(default_factory=dict)
    chains: list[dict[str, Any]] = Field(min_length=1)
    plain: Annotated[float, Field(ge=0, lt=1)] | None = None
    thoughts: ThoughtSettings | None = None
    parallel: str = ""
    paraphrases: str = ""
    unfit: Literal["skip", "plain"] = "skip"
    duplicates: Literal["skip", "keep"] = "skip"
    control: Literal["none", "rows", "tokens", "direct"] = "rows"
    seed: int = 0
    limit: Annotated[int, Field(gt=0)] | None = None
    strict: bool = False
    llm: str | list[str] = ""
    judge: str | list[str] = ""
    rounds: Annotated[int, Field(ge=1, le=8)] | None = None
    contamination: list[str] = Field(default_factory=list)
    near_duplicates: Literal["skip", "keep"] = "skip"
    store: str | None = None
    concurrency: Annotated[int, Field(gt=0, le=4096)] = 64
    adaptive: bool = False
    timeout_s: Annotated[float, Field(gt=0)] = 120.0
    batch: bool = False
    max_cost: Annotated[float, Field(gt=0)] | None = None
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    max_requests: Annotated[int, Field(gt=0)] | None = None
    price: str | None = None
    out: str | None = None

    @property
    def sources(self) -> list[str]:
        """What is read, one after the other."""
        return [self.from_] if isinstance(self.from_, str) else self.from_


# How a build is run, and not what it makes: another value is still the same build.
ONLY_RUNNING = frozenset({"store", "concurrency", "adaptive", "timeout_s", "batch", "out", "price"}) | {
    name for name in BuildSettings.model_fields if name.startswith("max_")
}


def check_build(document: Document) -> tuple[BuildSettings | None, Mix | None, list[str]]:
    """The `build:` section as settings and mix, and every problem in it at once."""
    section = name_chains(document.values.get("build"))
    if not isinstance(section, dict):  # which `check_sections` tells
        return None, None, []
    thoughts, problems = _check_thoughts(document, section)
    settings, more = check(document, ("build",), {**section, "thoughts": thoughts}, BuildSettings)
    problems += more
    given = section.get("chains")
    portions: list[Portion] = []
    for i, entry in enumerate(given if isinstance(given, list) else []):
        portion, more = _check_chain(document, ("build", "chains", i), entry, section)
        problems += more
        if portion:
            portions.append(portion)
    if settings and not settings.llm:
        problems += _without_teacher(document, settings)
    if problems or settings is None:
        return settings, None, problems
    shared, problems = _share_out(portions, settings.plain, document)
    table = cache(partial(open_table, sources=len(settings.sources)))
    return settings, Mix(tuple(shared), settings.unfit, settings.seed, table, settings.control == "direct"), problems


def name_chains(section: Any) -> Any:
    """The section with a mapping in the place of each chain that is a name alone."""
    if not isinstance(section, dict) or not isinstance(given := section.get("chains"), list):
        return section
    return {**section, "chains": [{"chain": entry} if isinstance(entry, str) else entry for entry in given]}


def _check_thoughts(document: Document, section: Mapping[str, Any]) -> tuple[ThoughtSettings | None, list[str]]:
    """The `thoughts:` part by itself, so that a key that it does not know is named with its own."""
    if section.get("thoughts") is None:
        return None, []
    return check(document, ("build", "thoughts"), section["thoughts"], ThoughtSettings)


def _without_teacher(document: Document, settings: BuildSettings) -> list[str]:
    """What says how a teacher is asked where there is none."""
    idle = [name for name in ("judge", "batch", "max_cost", "max_tokens", "max_requests") if getattr(settings, name)]
    idle += ["control"] * (settings.control == "direct")
    return [
        f"{document.place(('build', name))}: build.{name} is for builds that ask a teacher; give build.llm"
        for name in idle
    ]


def _check_chain(
    document: Document, location: Location, entry: Any, section: Mapping[str, Any]
) -> tuple[Portion | None, list[str]]:
    if not isinstance(entry, dict) or not isinstance(entry.get("chain"), str):
        return None, [f"{document.place(location)}: a chain is a name, or a mapping with 'chain: NAME'"]
    title = entry["chain"]
    found, steps = _resolve(title)
    if found is None:
        whole = [step.strip() for step in title.split("+") if step.strip() in chains() and step.strip() != "repeat"]
        if "+" in title and whole:
            place = document.place((*location, "chain"))
            return None, [f"{place}: {whole[0]!r} is a whole chain, and only steps can be joined with '+'"]
        near = did_you_mean(title, [*chains(), *operations()])
        place = document.place((*location, "chain"))
        return None, [f"{place}: no chain or operation is called {title!r}{near} (seqtune ls chains)"]
    shared = {name: section[name] for name in SHARED if section.get(name) and name in found.options}
    values = {**shared, **entry, **({} if steps is None else {"steps": steps})}
    markless = "procedure" in found.options  # whose answers a teacher writes whole
    told = {name: value for name, value in values.items() if name != "style" or not markless}
    settings, problems = check(
        document, location, told, options_model(found.name, found.options.values(), ChainSettings)
    )
    if markless and "style" in entry:
        what = f"the parts of its answers bear no marks; how {title} asks is 'procedure: fused' or 'procedure: paper'"
        problems.append(f"{document.place((*location, 'style'))}: style = {entry['style']}: {what}")
    if problems or settings is None:
        return None, problems
    fields = {name: getattr(settings, name) for name in type(settings).model_fields}
    general = {name: fields.pop(name) for name in ChainSettings.model_fields}
    if strange := [name for name in fields.get("gates") or () if name not in gates()]:
        lines = [f"no gate is called {name!r}{did_you_mean(name, gates())} (seqtune ls gates)" for name in strange]
        return None, [f"{document.place((*location, 'gates'))}: {text}" for text in lines]
    if unknown := [named for named in _named_operations(fields) if named not in operations()]:
        lines = [f"no operation is called {named!r}{did_you_mean(named, operations())}" for named in unknown]
        return None, [f"{document.place(location)}: {text} (seqtune ls operations)" for text in lines]
    share = general["share"] or 0.0
    return Portion(_title(title, fields), found, share, fields, general["style"], general["dialogue"]), []


def _title(title: str, options: Mapping[str, Any]) -> str:
    steps = options.get("steps")
    return f"{title} ({steps} steps)" if isinstance(steps, int) else title


def _named_operations(options: Mapping[str, Any]) -> list[str]:
    steps: Any = options.get("steps")
    names = [*options.get("only", ()), *(steps if isinstance(steps, list) else [])]
    return [name for name in names if name not in TASK_NAMES]


def _resolve(name: str) -> tuple[Chain | None, list[str] | None]:
    """The chain of that name; for an operation's name or "a+b", the chain `tasks` with these steps."""
    if name in chains():
        return chains()[name], None
    steps = [step.strip() for step in name.split("+")]
    known = {*TASK_NAMES, *operations()}
    return (chains()["tasks"], steps) if all(step in known for step in steps) else (None, None)


def _share_out(portions: list[Portion], plain: float | None, document: Document) -> tuple[list[Portion], list[str]]:
    """Give the chains without a share an equal part of what the others and the plain rows leave."""
    given = sum(portion.share for portion in portions)
    unset = [portion for portion in portions if not portion.share]
    rest = 1 - given - (plain or 0)
    place = document.place(("build", "chains"))
    if rest < -1e-9:
        total = f"chains {given:g} + plain {plain or 0:g} = {given + (plain or 0):g}"
        return portions, [f"{place}: the shares add up to more than 1: {total}"]
    if unset and rest <= 1e-9:
        return portions, [f"{place}: nothing is left for the chains without a share; lower the others"]
    if not unset and plain is not None and rest > 1e-9:
        return portions, [
            f"{place}: the shares and 'plain' add up to {1 - rest:g}, not 1; leave 'plain' out for the rest"
        ]
    part = rest / len(unset) if unset else 0.0
    return [c if c.share else Portion(c.title, c.chain, part, c.options, c.style, c.dialogue) for c in portions], []


def describe(mix: Mix, thoughts: ThoughtSettings | None = None) -> Mapping[str, float]:
    """The asked share of each part of the examples, plain and chain-of-thought rows included."""
    shares: dict[str, float] = {}
    for portion in mix.portions:
        shares[portion.title] = shares.get(portion.title, 0.0) + portion.share
    rest = 1 - sum(shares.values())
    shares |= {PLAIN: rest} if rest > 1e-9 else {}
    if thoughts is None:
        return shares
    return {**{title: share * (1 - thoughts.share) for title, share in shares.items()}, THOUGHTS: thoughts.share}
