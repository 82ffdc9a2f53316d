"""What can go wrong, said so that the reader can mend it: where, what (with the value), what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class SeqtuneError(Exception):
    """An error meant for the user: `where` it is, `what` is wrong (with the value), and the `fix`."""

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        fix = f"\n  fix: {self.fix}" if self.fix else ""
        return f"{place}{self.what}{fix}"


class RecipeError(SeqtuneError):
    """A recipe, an option or a name that seqtune does not know or cannot use."""


class DataError(SeqtuneError):
    """A file or a row that cannot be read."""


class RunFolderError(SeqtuneError):
    """A run folder that must not be written to, or that is not complete."""


class TeacherError(SeqtuneError):
    """A model that cannot be asked as it was named: its spelling, its address, its key."""


class BudgetSpent(TeacherError):
    """The next request would go over the budget; every reply so far is kept."""


class StoreError(SeqtuneError):
    """A reply store that cannot be read or written."""


class MissingExtraError(SeqtuneError):
    """A command needs an optional package that is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed",
            fix=f"pip install 'seqtune[{extra}]'",
        )


def shorten(value: object, limit: int = 80) -> str:
    """The value as one short line, for an error message or a table."""
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ "; did you mean 'repeat'?" for the nearest known name, or nothing."""
    near = get_close_matches(name.lower(), [*known], n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
