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
    """Read one file within this: whatever goes wrong with it is raised as Rejected, without its values.

    Running out of memory is of the file (LIMITS). What nobody foresaw is an error of this program (PROGRAM):
    its kind and the line of the package where it was raised are named, its message, which may quote the file,
    is not.
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
