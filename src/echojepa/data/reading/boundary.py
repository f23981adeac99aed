"""The one place where anything that a file can cause ends: as that file's refusal, with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb

from echojepa.data.identity.deidentify import discreetly
from echojepa.data.reading.rejection import Rejected
from echojepa.vocabulary import Reason

SOURCE = Path(__file__).parents[2]


@contextmanager
def one_file() -> Iterator[None]:
    """Read one file within this context: every failure is raised as Rejected, without values of the file.

    Running out of memory counts as a fault of the file (LIMITS). An unforeseen error counts as an error of
    this program (PROGRAM): the reason names its kind and line, but not its message, which may quote the file.
    """
    with discreetly():
        try:
            yield
        except Rejected:
            raise
        except MemoryError:
            raise Rejected(Reason.LIMITS, "it needs more memory than a file may") from None
        except Exception as error:  # noqa: BLE001 - one file must never end an ingest
            raise Rejected(Reason.PROGRAM, f"{type(error).__name__} at {place_of(error)}") from None


def place_of(error: Exception) -> str:
    """The last line of this package in an error's traceback, as module:line."""
    place = "a place that is not known"
    for frame, line in walk_tb(error.__traceback__):
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(SOURCE):
            place = f"{path.relative_to(SOURCE).as_posix()}:{line}"
    return place
