"""Which chat template a model's rows go through: its own, or one shipped for base models."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Literal, get_args

from seqtune.errors import RecipeError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TemplateName = Literal["auto", "alpaca", "chatml", "tulu"]
SHIPPED = tuple(name for name in get_args(TemplateName) if name != "auto")
CHATML_MARKS = ("<|im_start|>", "<|im_end|>")


def use_template(tokenizer: PreTrainedTokenizerBase, name: TemplateName, where: str) -> None:
    """Give the tokenizer the template that is asked for; it is saved with it, so answering uses the same.

    Args:
        tokenizer: it is changed in place.
        name: "auto" keeps the model's own.
        where: the model, for the error.

    Raises:
        RecipeError: "auto" and there is none, or a template whose marks or end token the tokenizer does not have.
    """
    if name == "auto":
        return _require_own(tokenizer, where)
    if tokenizer.eos_token is None:
        raise RecipeError(
            f"template {name!r} ends answers with the end token, and the tokenizer names none",
            where=where,
            fix="set eos_token in its tokenizer_config.json",
        )
    if name == "chatml":
        _require_marks(tokenizer, where)
    text = resources.files("seqtune.training").joinpath(f"templates/{name}.jinja").read_text("utf-8")
    # The template is all that writes marks, so it must also write the one that this tokenizer puts before any text.
    tokenizer.chat_template = ("{{ bos_token }}" if _begins_with_bos(tokenizer) else "") + text
    return None


def _require_own(tokenizer: PreTrainedTokenizerBase, where: str) -> None:
    if not tokenizer.chat_template:
        raise RecipeError(
            "the model's tokenizer has no chat template",
            where=where,
            fix="set template to 'tulu' or 'alpaca' (for any base model) or 'chatml' (where the tokenizer has its "
            "marks), or use an instruct or chat version of the model",
        )


def _require_marks(tokenizer: PreTrainedTokenizerBase, where: str) -> None:
    # New tokens would need new rows in the embedding, which an adapter does not train.
    missing = [mark for mark in CHATML_MARKS if mark not in tokenizer.get_vocab()]
    if missing:
        raise RecipeError(
            f"template 'chatml' needs the token {missing[0]!r}, which the model's tokenizer does not have",
            where=where,
            fix="set template to 'tulu' or 'alpaca', which need no token but the end token",
        )


def _begins_with_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    ids = tokenizer("a")["input_ids"]
    return tokenizer.bos_token_id is not None and ids[0] == tokenizer.bos_token_id
