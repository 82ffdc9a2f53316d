"""How an address is spelled, and the key that goes with it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from seqtune.errors import TeacherError

KEY = "SEQTUNE_API_KEY"
KEY_FILE = "SEQTUNE_API_KEY_FILE"
# A vendor's own variable is sent to that vendor's host and to no other.
KEYS_OF_HOSTS = {
    "api.openai.com": "OPENAI_API_KEY",
    "openrouter.ai": "OPENROUTER_API_KEY",
    "api.mistral.ai": "MISTRAL_API_KEY",
    "api.together.xyz": "TOGETHER_API_KEY",
    "api.deepseek.com": "DEEPSEEK_API_KEY",
}
SPELLING = "write it as http://127.0.0.1:8000/v1#MODEL"


class Endpoint(Struct, frozen=True):
    """An OpenAI-compatible address: `url` up to and with /v1, and the model's name there."""

    url: str
    model: str


def parse_endpoints(spec: str | Sequence[str]) -> tuple[Endpoint, ...]:
    """Read `http://127.0.0.1:8000/v1#MODEL`, or several of one model, with commas between them or as a sequence.

    Raises:
        TeacherError: no model, not http or https, a password in the address, or different models.
    """
    # A model's name may hold a comma, so a new address begins only where a scheme does.
    specs = re.split(r"[,\s]+(?=https?://)", spec.strip()) if isinstance(spec, str) else spec
    endpoints = tuple([_parse_endpoint(one) for one in specs])
    models = sorted({endpoint.model for endpoint in endpoints})
    if len(models) > 1:
        raise TeacherError(
            f"several addresses must serve one model, these name {', '.join(map(repr, models))}",
            fix="replies of different models must not be mixed",
        )
    return endpoints


def named_model(spec: str | Sequence[str]) -> Endpoint:
    """The model that a spec of any kind names, as its vendor spells it, and the address where there is one."""
    first = spec if isinstance(spec, str) else spec[0]
    if first.startswith(("http://", "https://")):
        return parse_endpoints(spec)[0]
    return Endpoint("", first.rpartition("/")[2] if first.startswith("litellm:") else first)


def _parse_endpoint(spec: str) -> Endpoint:
    url, _, model = spec.partition("#")
    parts = urlsplit(url)
    if parts.username or parts.password:
        # The message must not repeat what stands there.
        raise TeacherError("an address holds a user or a password", fix=f"put the key into {KEY}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise TeacherError(f"{spec!r} is no http address", fix=SPELLING)
    if not model:
        raise TeacherError(f"{spec!r} names no model", fix=SPELLING)
    return Endpoint(url.rstrip("/").removesuffix("/chat/completions"), model)


def find_key(
    url: str, *, key_file: str | Path | None = None, environment: Mapping[str, str] = os.environ
) -> str | None:
    """The key for an address: of the file, of SEQTUNE_API_KEY(_FILE), or of the vendor's own variable.

    Raises:
        TeacherError: the file cannot be read, is empty, or holds more than a key; what it holds is not shown.
    """
    if path := key_file or environment.get(KEY_FILE):
        return _read_key(Path(path))
    vendors = KEYS_OF_HOSTS.get(urlsplit(url).hostname or "", "")
    name = KEY if environment.get(KEY) else vendors
    key = (environment.get(name) or "").strip()
    if key and not (key.isascii() and key.isprintable()):
        raise TeacherError(f"the key in {name} holds signs that no key has", fix="set it anew, without line breaks")
    return key or None


def _read_key(path: Path) -> str:
    try:
        words = path.read_text("utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "it is not text"
        raise TeacherError(f"the key cannot be read: {what}", where=str(path), fix="name another key file") from None
    if len(words) != 1:
        raise TeacherError(
            f"a key file holds one word, this holds {len(words)}", where=str(path), fix="keep only the key in it"
        )
    return words[0]
