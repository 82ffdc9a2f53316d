"""Rows as token ids: the one place where a chat becomes ids, in training and in answering alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from seqtune.data.example import Example, messages
from seqtune.errors import DataError, RecipeError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100  # a label that torch's cross entropy leaves out

Chat = Sequence[dict[str, Any]]


class Row(NamedTuple):
    """One row as the model sees it: ids (T,) and labels (T,), which are the id where it is trained, else IGNORED."""

    id: str
    ids: list[int]
    labels: list[int]

    @property
    def trained(self) -> list[int]:
        """The tokens that the loss is on."""
        return [label for label in self.labels if label != IGNORED]


def training_row(example: Example, tokenizer: PreTrainedTokenizerBase) -> Row:
    """The row's chat through the tokenizer's own template; loss on each answer and its end token, nothing after it.

    Prompt and answer are tokenised apart, exactly as in answering, so no token can join text from both.

    Raises:
        DataError: a row without answer, or with text that the model would read as one of its own marks.
        RecipeError: the template does not close answers with the tokenizer's end token, or rewrites earlier turns.
    """
    chat = messages(example)
    _refuse_marks(chat, tokenizer)
    ids: list[int] = []
    labels: list[int] = []
    done = ""
    for i, message in enumerate(chat):
        if message["role"] != "assistant" or not message["content"]:
            continue
        prompt = rendered_prompt(chat[:i], tokenizer)
        answer = _answer_text(chat[: i + 1], prompt, done, tokenizer)
        context, trained = _encode(prompt[len(done) :], tokenizer), _encode(answer, tokenizer)
        ids += context + trained
        labels += [IGNORED] * len(context) + trained
        done = prompt + answer
    if not done:
        raise DataError("the row has no answer to train on", fix="give it an output")
    return Row(example.id, ids, labels)


def prompt_ids(example: Example, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What the model is given to answer a row: its chat up to the last answer, and the mark that asks for one."""
    chat = messages(example)
    _refuse_marks(chat, tokenizer)
    while chat and chat[-1]["role"] == "assistant":
        chat.pop()
    return _encode(rendered_prompt(chat, tokenizer), tokenizer)


def rendered_prompt(chat: Chat, tokenizer: PreTrainedTokenizerBase) -> str:
    """A chat that waits for an answer, as the template writes it."""
    return str(tokenizer.apply_chat_template(list(chat), tokenize=False, add_generation_prompt=True))


def require_template(tokenizer: PreTrainedTokenizerBase, where: str) -> None:
    """Raises RecipeError for a tokenizer that cannot render a chat or end an answer."""
    if not tokenizer.chat_template:
        raise RecipeError(
            "the model's tokenizer has no chat template",
            where=where,
            fix="use an instruct or chat version of the model",
        )
    if tokenizer.eos_token is None:
        raise RecipeError("the model's tokenizer names no end token", where=where, fix="set eos_token in its files")


def _answer_text(chat: Chat, prompt: str, done: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """The last answer as the template writes it, up to its end token."""
    whole = str(tokenizer.apply_chat_template(list(chat), tokenize=False))
    if not (prompt.startswith(done) and whole.startswith(prompt)):
        raise RecipeError(
            "the chat template writes earlier turns differently once an answer is there, so prompt and answer "
            "cannot be told apart",
            fix="use rows of one exchange, or a template that only appends",
        )
    answer = whole[len(prompt) :]
    end = answer.rfind(tokenizer.eos_token)
    if end < 0:
        raise RecipeError(
            f"the chat template does not close an answer with the tokenizer's end token {tokenizer.eos_token!r}",
            fix="set eos_token to the mark that the template writes after an answer",
        )
    return answer[: end + len(tokenizer.eos_token)]


def _encode(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    # The template has written all marks already; the tokenizer must not add a second <bos>.
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _refuse_marks(chat: Chat, tokenizer: PreTrainedTokenizerBase) -> None:
    """A row that holds "<|end|>" as text would close its own turn in the middle: no such row is rendered."""
    marks = tokenizer.all_special_tokens
    for message in chat:
        if not isinstance(message["content"], str | None):
            raise DataError(
                "a message is not plain text", fix="leave rows with images out: only text is trained so far"
            )
        for mark in marks:
            if mark in (message["content"] or ""):
                raise DataError(
                    f"the text holds {mark!r}, which the model reads as the end or start of a turn",
                    fix="remove it from the row",
                )
