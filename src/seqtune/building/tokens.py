"""How long a text is, without a model's tokenizer: near enough to match two sets by."""

from __future__ import annotations

import re

from seqtune.data.example import Example, messages

# A word, a single CJK sign or other mark: within about a quarter of what common subword tokenizers count for English,
# and the same for both sides of a comparison, which is what matching needs.
_TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+|[^\w\s]|_")


def count_tokens(example: Example) -> int:
    """Words, marks and CJK signs of all messages of a row, the answer included."""
    return sum(len(_TOKEN.findall(m["content"])) for m in messages(example) if isinstance(m["content"], str))
