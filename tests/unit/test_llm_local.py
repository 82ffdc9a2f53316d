"""Models on this machine: a tiny random Llama is asked like a server, in batches that change no reply."""

import asyncio
import os
import shutil
import sys

import pytest
from tiny_model import save_letters

from seqtune.errors import MissingExtraError, TeacherError
from seqtune.llm import local
from seqtune.llm.asking import open_teacher
from seqtune.llm.local import model_name
from seqtune.llm.reply import Reply, Stopped
from seqtune.llm.request import Request, user


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_letters(tmp_path_factory.mktemp("model"))


def ask(folder, store, *requests):
    async def work():
        async with open_teacher(f"hf:{folder}", store=store) as teacher:
            return await asyncio.gather(*[teacher(request) for request in requests]), teacher.counts

    return asyncio.run(asyncio.wait_for(work(), 60))


def question(text, **fields):
    return Request(model="tiny", messages=(user(text),), **{"max_tokens": 12, "cut_ok": True, **fields})


def texts(folder, store, *requests):
    return [outcome.text for outcome in ask(folder, store, *requests)[0]]


def test_the_tokens_are_counted_and_a_reply_ends_at_its_most_tokens(folder, tmp_path):
    [reply], counts = ask(folder, tmp_path / "r.sqlite", question("hi", temperature=0.0))
    assert isinstance(reply, Reply)
    assert (reply.finish_reason, reply.completion_tokens) == ("length", 12)
    assert reply.prompt_tokens == len("<user>hi\n<assistant>")
    assert (counts.prompt_tokens, counts.completion_tokens, counts.sent) == (20, 12, 1)


def test_a_cut_reply_is_a_failure_as_over_http(folder, tmp_path):
    [failed], _ = ask(folder, tmp_path / "r.sqlite", question("hi", temperature=0.0, cut_ok=False))
    assert (failed.reason, failed.fix) == ("length", "raise max_tokens")


def test_a_reply_does_not_depend_on_what_it_was_batched_with(folder, tmp_path):
    requests = [
        question("word " * at, temperature=temperature, top_p=top_p, top_k=top_k, max_tokens=5 + at)
        for at, (temperature, top_p, top_k) in enumerate(
            [(0.0, None, None), (1.0, None, None), (0.7, 0.9, None), (1.3, None, 4), (None, 0.5, 9), (0.0, 0.1, 1)]
        )
    ]
    together, _ = ask(folder, tmp_path / "a.sqlite", *requests)
    alone = [texts(folder, tmp_path / f"{at}.sqlite", one)[0] for at, one in enumerate(requests)]
    assert [reply.text for reply in together] == alone
    assert [reply.completion_tokens for reply in together] == [5, 6, 7, 8, 9, 10]


def test_another_attempt_is_drawn_anew_and_temperature_0_is_the_same(folder, tmp_path):
    drawn = [question("hi", temperature=1.0, attempt=attempt) for attempt in range(6)]
    greedy = [question("hi", temperature=0.0, attempt=attempt) for attempt in range(3)]
    said = texts(folder, tmp_path / "r.sqlite", *drawn, *greedy)
    assert len(set(said[:6])) == 6
    assert len(set(said[6:])) == 1


def test_the_likeliest_token_alone_is_greedy(folder, tmp_path):
    settings = [{"temperature": 0.0}, {"temperature": 1.0, "top_k": 1}, {"temperature": 1.0, "top_p": 1e-6}]
    said = texts(folder, tmp_path / "r.sqlite", *[question("hi", **fields) for fields in settings])
    assert len(set(said)) == 1


def test_a_stop_string_ends_a_reply_and_is_no_part_of_it(folder, tmp_path):
    store = tmp_path / "r.sqlite"
    [whole] = texts(folder, store, question("hi", temperature=0.0))
    stop = whole[4:6]
    [reply], _ = ask(folder, store, question("hi", temperature=0.0, stop=(stop,), cut_ok=False))
    assert reply.text == whole[: whole.index(stop)]
    assert reply.finish_reason == "stop"
    assert reply.completion_tokens < 12


def test_what_it_cannot_do_is_refused_and_says_why(folder, tmp_path):
    picture = Request(model="tiny", messages=(user("see", "data:image/png;base64,AA"),))
    outcomes, counts = ask(folder, tmp_path / "r.sqlite", picture, question("word " * 100))
    assert [outcome.reason for outcome in outcomes] == ["refused"] * 2
    assert ["images" in outcomes[0].detail, "256" in outcomes[1].detail] == [True] * 2
    assert counts.failed["refused"] == 2


def test_a_tokenizer_without_a_template_is_given_plain_turns(folder, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(folder, bare)
    for file in bare.glob("*.jinja"):
        file.unlink()
    [reply], _ = ask(bare, tmp_path / "r.sqlite", question("hi", temperature=0.0))
    assert reply.prompt_tokens == len("User: hi\n\nAssistant:")


def test_a_stop_lets_the_batch_finish_and_answers_no_other(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(local, "BATCH", 2)

    async def work():
        async with open_teacher(f"hf:{folder}", store=tmp_path / "r.sqlite") as teacher:
            calls = [asyncio.ensure_future(teacher(question(str(at), max_tokens=100))) for at in range(8)]
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            teacher.stop()
            return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = asyncio.run(asyncio.wait_for(work(), 30))
    assert {type(outcome) for outcome in outcomes} == {Reply, Stopped}


def test_leaving_in_the_middle_ends_the_work(folder, tmp_path):
    async def work():
        async with open_teacher(f"hf:{folder}", store=tmp_path / "r.sqlite") as teacher:
            call = asyncio.ensure_future(teacher(question("hi", max_tokens=200)))
            await asyncio.sleep(0.1)
            call.cancel()

    asyncio.run(asyncio.wait_for(work(), 30))


def test_a_model_retrained_in_its_folder_has_another_name(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    before = model_name(str(tmp_path))
    assert model_name(str(tmp_path)) == before
    assert before.startswith(f"{tmp_path}@")
    os.utime(tmp_path / "model.safetensors", (0, 0))
    assert model_name(str(tmp_path)) != before
    assert model_name("owner/name") == "owner/name"


def test_no_model_there_is_told(tmp_path):
    pytest.importorskip("transformers", reason="transformers is not installed")
    with pytest.raises(TeacherError, match="cannot be loaded"):
        ask(tmp_path, tmp_path / "r.sqlite")


@pytest.mark.parametrize(
    ("spec", "package"),
    [("hf:x", "transformers"), ("vllm:x", "vllm"), ("litellm:openai/x", "litellm")],
)
def test_a_missing_extra_says_what_to_install(spec, package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)

    async def work():
        async with open_teacher(spec, store=tmp_path / "r.sqlite"):
            pass

    with pytest.raises(MissingExtraError, match=package) as caught:
        asyncio.run(work())
    assert "pip install 'seqtune[" in str(caught.value)
