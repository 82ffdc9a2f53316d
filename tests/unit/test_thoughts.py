"""Chain-of-thought rows in a build: as many as asked, evenly spread, never twice, each row read at its end once."""

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import seqtune
from seqtune.building.mix import THOUGHTS
from seqtune.errors import DataError, RecipeError
from seqtune.recipe import read_recipe

TOWNS = [{"instruction": f"Name town number {i}.", "input": "ash\nelm\noak", "output": f"Elm {i}"} for i in range(120)]
REASONED = [
    {"prompt": f"What is {i} + 2?", "completion": f"<think>{i} and two more make {i + 2}.</think>{i + 2}"}
    for i in range(80)
]
BROKEN = {"prompt": "", "completion": "nothing was asked"}
OPEN = {"prompt": "What is left open?", "completion": ""}


def write(folder, name, rows):
    path = folder / name
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    return str(path)


def build(folder, towns, reasoned, share, out="out", **options):
    thoughts = {"from": write(folder, "reasoned.jsonl", reasoned), "share": share}
    options = {"chain": "repeat", "thoughts": thoughts, **options}
    return seqtune.build(from_=write(folder, "towns.jsonl", towns), out=str(folder / out), **options)


def lines(built, name):
    return [msgspec.json.decode(line) for line in (built.out / f"{name}.jsonl").read_bytes().splitlines()]


def is_thought(row):
    return row["origin"][-1]["transform"] == THOUGHTS


@given(share=st.floats(0.01, 0.9), towns=st.integers(1, 60))
@example(share=0.5, towns=1)
@settings(max_examples=30, deadline=None)
def test_after_every_row_the_share_is_right_to_within_one_row(share, towns, tmp_path_factory):
    folder = tmp_path_factory.mktemp("share")
    built = build(folder, TOWNS[:towns], REASONED * 10, share, duplicates="keep")
    taken = 0
    for written, row in enumerate(lines(built, "examples"), 1):
        taken += is_thought(row)
        assert abs(taken - share * written) <= 1
    assert abs(taken - share * built.examples) <= 0.5 + 1e-6
    assert built.made.get(THOUGHTS, 0) == taken
    assert "missing" not in built.reasons


@given(
    towns=st.lists(st.sampled_from([*TOWNS[:6], {**TOWNS[0], "input": ""}, {**TOWNS[1], "instruction": ""}])),
    reasoned=st.lists(st.sampled_from([*REASONED[:6], BROKEN, OPEN])),
    share=st.floats(0.05, 0.8),
)
@settings(max_examples=40, deadline=None)
def test_every_row_read_of_both_files_ends_in_exactly_one_place(towns, reasoned, share, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ends")
    built = build(folder, [TOWNS[7], *towns], [REASONED[7], *reasoned], share)
    ended = [row["origin"][0] for row in lines(built, "examples")]
    ended += [entry["example"]["origin"][0] for entry in lines(built, "skipped")]
    places = [(one["source"], one["row"]) for one in [*ended, *lines(built, "failed")]]
    assert len(set(places)) == len(places) == built.read == built.examples + built.skipped + built.failed
    town_rows = sorted(row for source, row in places if "towns" in source)
    thought_rows = sorted(row for source, row in places if "reasoned" in source)
    assert town_rows == list(range(1, len(towns) + 2))
    assert thought_rows == list(range(1, len(thought_rows) + 1))  # as far as needed, in the order of the file
    if "missing" in built.reasons:
        assert len(thought_rows) == len(reasoned) + 1


def test_a_limit_gives_a_prefix_and_the_same_build_again_the_same_bytes(tmp_path):
    for out, limit in (("ten", 10), ("hundred", 100), ("again", 100)):
        build(tmp_path, TOWNS, REASONED, 0.3, out, limit=limit)
    ten, hundred, again = ((tmp_path / out / "examples.jsonl").read_bytes() for out in ("ten", "hundred", "again"))
    assert hundred.startswith(ten)
    assert hundred == again


def test_the_control_set_holds_the_same_thoughts_at_the_same_places(tmp_path):
    built = build(tmp_path, TOWNS, REASONED, 0.2)
    pairs = list(zip(lines(built, "examples"), lines(built, "control"), strict=True))
    assert all((made["id"] == control["id"]) == is_thought(made) for made, control in pairs)
    assert sum(is_thought(made) for made, _ in pairs) == built.made[THOUGHTS] == 30


def test_the_lineage_says_where_a_thought_came_from_and_its_text_is_untouched(tmp_path):
    built = build(tmp_path, TOWNS, REASONED, 0.2, seed=5)
    first = next(row for row in lines(built, "examples") if is_thought(row))
    read, taken = first["origin"]
    assert (read["source"], read["row"]) == (str(tmp_path / "reasoned.jsonl"), 1)
    assert taken == {"transform": THOUGHTS, "parent": first["id"], "seed": 5}
    assert (first["instruction"], first["output"]) == (REASONED[0]["prompt"], REASONED[0]["completion"])


def test_a_file_that_ends_too_early_is_told_with_how_many_are_missing(tmp_path):
    built = build(tmp_path, TOWNS[:90], REASONED[:4], 0.1)
    assert (built.examples, built.made[THOUGHTS]) == (94, 4)
    [(reason, missing)] = built.reasons["missing"].items()
    assert "none is repeated" in reason
    assert missing == 6
    assert built.asked == pytest.approx({"repeat": 0.9, THOUGHTS: 0.1})


def test_thoughts_are_held_against_evaluation_prompts_too(tmp_path):
    long = {
        "prompt": "Say which of these nine trees loses its leaves before the first frost comes.",
        "completion": "Elm.",
    }
    held_out = write(tmp_path, "held.jsonl", [{"instruction": long["prompt"], "output": "x"}])
    built = build(tmp_path, TOWNS[:20], [long, *REASONED], 0.2, contamination=[held_out])
    [(reason, rows)] = built.reasons["skipped"].items()
    assert (reason.partition(" with ")[0], rows) == ("overlaps", 1)
    assert built.made[THOUGHTS] == 5


def test_a_source_that_cannot_be_read_is_told_before_the_folder_is_touched(tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        build(tmp_path, TOWNS, REASONED, 0.2, thoughts={"from": str(tmp_path / "nowhere.jsonl"), "share": 0.2})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("thoughts", "said"),
    [
        ("{from: a, shrae: 0.1}", "unknown key 'shrae' in build.thoughts; did you mean 'share'?"),
        ("{from: a}", "build.thoughts.share is missing"),
        ("{from: a, share: 1}", "build.thoughts.share = 1"),
        ("a.jsonl", "build.thoughts = "),
    ],
)
def test_a_wrong_part_is_named_with_its_line(tmp_path, thoughts, said):
    path = tmp_path / "recipe.yaml"
    path.write_text(f"build:\n  from: a\n  chains: [repeat]\n  thoughts: {thoughts}\n")
    with pytest.raises(RecipeError) as caught:
        seqtune.build(path)
    assert f"{path}:4: {said}" in str(caught.value)


def test_the_resolved_recipe_builds_the_same_again(tmp_path):
    built = build(tmp_path, TOWNS, REASONED, 0.2)
    recipe = built.out / "recipe.yaml"
    assert read_recipe(recipe).values["build"]["thoughts"]["share"] == 0.2
    assert seqtune.build(recipe, out=str(built.out)).made == built.made  # not refused as another build


def test_with_a_teacher_the_thoughts_stand_at_the_same_places_and_ask_nothing(tmp_path, mock_server):
    server = mock_server()
    options = {"chain": "seq_instruct", "rounds": 1, "llm": server.llm, "store": str(tmp_path / "store.sqlite")}
    built = build(tmp_path, TOWNS[:40], REASONED, 0.25, **options, near_duplicates="keep")
    rows = lines(built, "examples")
    thoughts = [row for row in rows if is_thought(row)]
    assert len(thoughts) == built.made[THOUGHTS] == round(0.25 * len(rows))
    assert not any(origin.get("replies") for row in thoughts for origin in row["origin"])
    assert built.read == built.examples + built.skipped + built.failed
    for written in range(1, len(rows)):
        assert abs(sum(map(is_thought, rows[:written])) - 0.25 * written) <= 1
