"""Why a file does not come in: raised by whatever reads it, kept as a row of `rejected.parquet`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from echojepa.errors import UserError
from echojepa.vocabulary import Reason


class Rejected(UserError):
    """A file cannot be ingested; `reason` is from the closed list, `detail` carries no identifier."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, self.detail)


@contextmanager
def refusing(reason: Reason, what: str, errors: tuple[type[Exception], ...]) -> Iterator[None]:
    """Raise these errors, which damaged data cause, as Rejected: with their kind, never with their text."""
    try:
        yield
    except Rejected:
        raise
    except errors as error:
        raise Rejected(reason, f"{what} ({type(error).__name__})") from None
