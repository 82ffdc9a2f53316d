"""Rows as token ids: the one place where a chat becomes ids, in training and in answering alike.

What is trained is each answer and the token that ends its turn. That token is found by rendering an answer and looking
at what the template writes after it, because the tokenizer's `eos_token` is another one in many models.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import TemplateError, TemplateSyntaxError

from seqtune.data.example import Example, messages
from seqtune.errors import DataError, RecipeError, SeqtuneError
from seqtune.training.templates import use_template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100  # a label that torch's cross entropy leaves out
PROBE = "4711"  # an answer that no template writes by itself
THOUGHTS = ("<think>", "</think>")  # which answers hold, too
REFUSED = "the chat template refuses the row: "
MEND = "mend the model's chat template, or set template to 'tulu' or 'alpaca'"

Chat = Sequence[dict[str, Any]]
PLAIN: Chat = ({"role": "user", "content": f"{PROBE}-1"}, {"role": "assistant", "content": PROBE})
TALK: Chat = tuple(
    {"role": role, "content": f"{PROBE}-{place}"}
    for place, role in enumerate(("system", "user", "assistant", "user", "assistant"))
)


class Row(NamedTuple):
    """One row as the model sees it: ids (T,) and labels (T,), which are the id where it is trained, else IGNORED."""

    id: str
    ids: list[int]
    labels: list[int]

    @property
    def trained(self) -> list[int]:
        """The tokens that the loss is on."""
        return [label for label in self.labels if label != IGNORED]

    @property
    def ends(self) -> list[int]:
        """Where each trained answer ends, end token included: slices of `ids` up to there hold whole turns."""
        after = [*self.labels[1:], IGNORED]
        both = zip(self.labels, after, strict=True)
        return [i + 1 for i, (label, following) in enumerate(both) if label != IGNORED and following == IGNORED]


def training_rows(example: Example, tokenizer: PreTrainedTokenizerBase) -> list[Row]:
    """The row's chat through the tokenizer's own template; loss on each answer and its end token, nothing after it.

    One row, or several where the template writes earlier turns differently once a later one is there (Qwen3 drops
    earlier thoughts): then each answer that no longer continues what stood before it begins a row of its own, which
    is what the model is given when it answers there. A message with `"train": false` is context only.

    Prompt and answer meet at the same token in training and in answering: see `_answer_ids`.

    Raises:
        DataError: a row without answer, one that the template refuses, or with text that the model would read as one
            of its own marks.
        RecipeError: the template closes answers with no end token, or writes a prompt differently once it is answered.
    """
    chat = messages(example)
    _refuse_marks(chat, tokenizer)
    end = end_mark(tokenizer)
    rows: list[Row] = []
    done = ""
    for i, message in enumerate(chat):
        if not _is_answer(message) or message.get("train") is False:
            continue
        prompt, answer = _exchange(chat[: i + 1], end, tokenizer)
        if not rows or not prompt.startswith(done):
            rows.append(Row(example.id, [], []))
            done = ""
        context, trained = _exchange_ids(prompt[len(done) :], answer, end if done else "", tokenizer)
        rows[-1].ids.extend(context + trained)
        rows[-1].labels.extend([IGNORED] * len(context) + trained)
        done = prompt + answer
    if not rows:
        raise DataError("the row has no answer to train on", fix="give it an output")
    _refuse_unknown(rows, tokenizer)
    return rows


def training_row(example: Example, tokenizer: PreTrainedTokenizerBase) -> Row:
    """The only row of an example; for templates that only append.

    Raises:
        RecipeError: the template writes earlier turns differently, so that the example is several rows.
    """
    rows = training_rows(example, tokenizer)
    if len(rows) > 1:
        raise RecipeError(f"the chat template makes {len(rows)} rows of one conversation", fix="use training_rows")
    return rows[0]


def prompt_ids(example: Example, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What the model is given to answer a row: its chat up to the last answer, and the mark that asks for one."""
    chat = messages(example)
    _refuse_marks(chat, tokenizer)
    while chat and chat[-1]["role"] == "assistant":
        chat.pop()
    return _encode(rendered_prompt(chat, tokenizer), tokenizer)


def rendered_prompt(chat: Chat, tokenizer: PreTrainedTokenizerBase, *, thinking: bool = False) -> str:
    """A chat that waits for an answer, as the template writes it.

    Args:
        chat: the messages before the answer.
        tokenizer: whose template is used.
        thinking: let the answer begin with thoughts, in models that do both; False asks for the answer itself.
    """
    return _render(chat, tokenizer, add_generation_prompt=True, enable_thinking=thinking)


def require_template(tokenizer: PreTrainedTokenizerBase, where: str) -> None:
    """Raises RecipeError for a tokenizer that cannot render a chat or end an answer."""
    use_template(tokenizer, "auto", where)
    end_mark(tokenizer)


def end_mark(tokenizer: PreTrainedTokenizerBase) -> str:
    """The token that the template writes right after an answer: "<|eot_id|>", "<|im_end|>", "</s>", ...

    Raises:
        RecipeError: it writes none.
    """
    return _end_mark(tokenizer, str(tokenizer.chat_template))


@lru_cache(maxsize=8)
def _end_mark(tokenizer: PreTrainedTokenizerBase, template: str) -> str:
    after = _probed(PLAIN, tokenizer).rpartition(PROBE)[2]
    found = _marks(tokenizer).search(after)
    if not found:
        raise RecipeError(
            f"the chat template does not close an answer with an end token: it writes {after!r} after it, and none of "
            "the tokens that were added to the tokenizer as a whole is in that",
            fix="set template to 'tulu' or 'alpaca', or mend the model's chat_template.jinja",
        )
    return found.group()


def _marks(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str]:
    """What the model reads as marks: special tokens, other added ones that the template writes around turns."""
    return _marks_of(tokenizer, len(tokenizer), str(tokenizer.chat_template))


@lru_cache(maxsize=8)
def _marks_of(tokenizer: PreTrainedTokenizerBase, size: int, template: str) -> re.Pattern[str]:
    added = tokenizer.added_tokens_decoder.values()
    written = "".join(_around_turns(tokenizer))
    around = [str(token) for token in added if str(token) in written and str(token) not in THOUGHTS]
    special = [str(token) for token in added if token.special]
    return _any_of(re.escape(mark) for mark in {*tokenizer.all_special_tokens, *special, *around})


def _headings(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str]:
    """What a template writes between turns as lines of plain text: "### Response:", or what looks like a mark."""
    return _headings_of(tokenizer, len(tokenizer), str(tokenizer.chat_template))


@lru_cache(maxsize=8)
def _headings_of(tokenizer: PreTrainedTokenizerBase, size: int, template: str) -> re.Pattern[str]:
    marks, (first, *later) = _marks(tokenizer), _around_turns(tokenizer)[:-1]
    before = [first.removeprefix(tokenizer.bos_token or ""), *later]
    # Where there is a mark, no text without it can be taken for what is written there.
    plain = {found.strip() for found in before if found.endswith("\n") and not marks.search(found)}
    return _any_of(rf"^{re.escape(line)}[ \t]*$" for line in plain if not line.replace(" ", "").isalnum() and line)


def _around_turns(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """What the template writes before, between and after the messages of a talk, or of one exchange at the least."""
    try:
        text = _probed(TALK, tokenizer)
    except RecipeError:
        text = _probed(PLAIN, tokenizer)
    return re.split(rf"{PROBE}-\d|{PROBE}", text)


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    """The longest first."""
    return re.compile("|".join(sorted(patterns, key=len, reverse=True)) or r"(?!)", re.MULTILINE)


def _probed(chat: Chat, tokenizer: PreTrainedTokenizerBase) -> str:
    """What the template makes of a chat that has nothing unusual.

    Raises:
        RecipeError: it cannot render it.
    """
    try:
        return _render(chat, tokenizer)
    except DataError as error:
        what = f"the chat template cannot be used: {error.what.removeprefix(REFUSED)}"
        raise RecipeError(what, fix=MEND) from None


def _is_answer(message: dict[str, Any]) -> bool:
    said = (message["content"] or "").strip()
    return message["role"] == "assistant" and bool(said or message.get("tool_calls"))


def _exchange(chat: Chat, end: str, tokenizer: PreTrainedTokenizerBase) -> tuple[str, str]:
    """The chat before its last answer, and that answer up to its end token, both as the template writes them."""
    whole = _render(chat, tokenizer)
    for thinking in (False, True):
        prompt = rendered_prompt(chat[:-1], tokenizer, thinking=thinking)
        if whole.startswith(prompt):
            answer, found, _ = whole[len(prompt) :].partition(end)
            if found:
                return prompt, answer + found
            raise _unfit(f"the chat template does not close this answer with {end!r}", chat, tokenizer)
    what = (
        "the chat template writes earlier turns differently once an answer is there, so prompt and answer "
        "cannot be told apart"
    )
    raise _unfit(what, chat, tokenizer)


def _unfit(what: str, chat: Chat, tokenizer: PreTrainedTokenizerBase) -> SeqtuneError:
    """Of the row, where the template does well with a plain exchange; else of the template."""
    if chat is not PLAIN:
        _exchange(PLAIN, end_mark(tokenizer), tokenizer)
        return DataError(what, fix="leave the row out, or set template to 'tulu' or 'alpaca', which only append")
    return RecipeError(what, fix="use a template that only appends: set template to 'tulu' or 'alpaca'")


def _render(chat: Chat, tokenizer: PreTrainedTokenizerBase, **options: bool) -> str:
    """The template's text. Where it knows no system role (Gemma), that message is put before the first user's."""
    if not chat:
        raise DataError("the conversation begins with an answer, and nothing is asked before it", fix="leave it out")
    plain = [{key: value for key, value in message.items() if key != "train"} for message in chat]
    try:
        return str(tokenizer.apply_chat_template(plain, tokenize=False, **options))
    except TemplateSyntaxError as error:
        what = f"the chat template cannot be read: line {error.lineno}: {error.message}"
        raise RecipeError(what, fix=MEND) from None
    except (TemplateError, TypeError) as error:
        folded = _fold_system(plain)
        if len(folded) == len(plain):
            raise DataError(f"{REFUSED}{error}", fix="leave the row out") from None
        return _render(folded, tokenizer, **options)


def _fold_system(chat: Chat) -> list[dict[str, Any]]:
    if len(chat) > 1 and chat[0]["role"] == "system" and chat[1]["role"] == "user":
        content = f"{chat[0]['content']}\n\n{chat[1]['content']}"
        return [{**chat[1], "content": content}, *chat[2:]]
    return list(chat)


def _exchange_ids(
    context: str, answer: str, before: str, tokenizer: PreTrainedTokenizerBase
) -> tuple[list[int], list[int]]:
    """Context and answer as ids; `before` is the mark that they follow, at which every tokenizer cuts its text.

    The context's ids are those that the model is given when it answers. The answer's are what follows them when both
    are encoded as one: encoded alone, SentencePiece would put a second blank before it. Where a token would join text
    of both (a prompt that ends in blanks, an answer that begins with one), the answer is encoded apart.
    """
    skip = len(_encode(before, tokenizer))
    given, both = _encode(before + context, tokenizer), _encode(before + context + answer, tokenizer)
    joined = both[: len(given)] != given
    return given[skip:], _encode_apart(answer, tokenizer) if joined else both[len(given) :]


def _encode_apart(answer: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The answer as it stands after a character that takes the blank which SentencePiece puts before a text."""
    mark = end_mark(tokenizer)
    for lead in (f"{mark}\n", f"{mark}:", mark):
        alone, both = _encode(lead, tokenizer), _encode(lead + answer, tokenizer)
        if both[: len(alone)] == alone:
            break
    return both[len(alone) :]


def _encode(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    # The template has written all marks already; the tokenizer must not add a second <bos>.
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
    return ids


def _refuse_marks(chat: Chat, tokenizer: PreTrainedTokenizerBase) -> None:
    """A row that holds "<|end|>" as text would close its own turn in the middle: no such row is rendered."""
    marks, headings = _marks(tokenizer), _headings(tokenizer)
    for message in chat:
        if not isinstance(message["content"], str | None):
            raise DataError(
                "a message is not plain text", fix="leave rows with images out: only text is trained so far"
            )
        text = message["content"] or ""
        found = marks.search(text) or headings.search(text)
        if found:
            raise DataError(
                f"the text holds {found.group()!r}, which the model reads as the end or start of a turn",
                fix="remove it from the row",
            )


def _refuse_unknown(rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> None:
    # Some tokenizers name their end token as the unknown one too.
    unknown = tokenizer.unk_token_id
    ends = (tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(end_mark(tokenizer)))
    if unknown is not None and unknown not in ends and any(unknown in row.labels for row in rows):
        raise DataError(
            f"the answer holds characters that the model's tokenizer does not know (it writes {tokenizer.unk_token!r})",
            fix="leave the row out, or use a model whose tokenizer knows every byte",
        )
