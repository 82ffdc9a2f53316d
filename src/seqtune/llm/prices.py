"""What a model's tokens cost: a kept table, read from the installed package and never from the network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from seqtune.errors import RecipeError
from seqtune.llm.budget import Price
from seqtune.llm.endpoint import named_model

SAMPLE_TOKENS = 1000  # small, so that where long prompts cost more the usual price is taken
LOCAL_ENDINGS = (".localhost", ".local", ".internal", ".lan")


def price_of(llm: str | Sequence[str], given: str | None) -> Price | None:
    """The price that was given, or else the model's in the table; None where it is unknown.

    Args:
        llm: how the model was named; several addresses are of one model.
        given: "0.15,0.60", see `parse_price`.

    Raises:
        RecipeError: what was given is no price.
    """
    if given:
        return parse_price(given)
    named = named_model(llm)
    return find_price(named.model, named.url)


def find_price(model: str, url: str = "") -> Price | None:
    """The price of a model's tokens, or None where it is unknown, as of a server of one's own.

    Args:
        model: its name, as the vendor spells it.
        url: the address that serves it; the price is that vendor's. "" for the vendor whose model it is.
    """
    if not model or (url and _is_own(url)):
        return None
    from genai_prices import Usage, calc_price  # here, as its table takes a moment to load

    try:
        cost = calc_price(
            Usage(input_tokens=SAMPLE_TOKENS, output_tokens=SAMPLE_TOKENS), model, provider_api_url=url or None
        )
    except LookupError:
        return None
    if cost.input_price is None or cost.output_price is None:
        return None
    return Price(*[round(float(usd) * 1e6 / SAMPLE_TOKENS, 6) for usd in (cost.input_price, cost.output_price)])


def _is_own(url: str) -> bool:
    """Whether the address is this machine's or a private network's, where nobody sells tokens."""
    host = urlsplit(url).hostname or ""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith(LOCAL_ENDINGS)


def parse_price(text: str) -> Price:
    """Read `0.15,0.60`: US dollars for a million tokens read, and for a million written.

    Raises:
        RecipeError: it is not two numbers from 0 up.
    """
    try:
        read, written = [float(word) for word in text.split(",")]
    except ValueError:
        read = written = math.nan
    if not (0 <= read < math.inf and 0 <= written < math.inf):
        raise RecipeError(
            f"the price {text!r} is not two numbers",
            fix="write 0.15,0.60: dollars for a million tokens read, and for a million written",
        )
    return Price(read, written)
