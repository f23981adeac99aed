"""Who a person is stays with the key: pseudonyms, shifted dates, coarse ages, and silence.

Nothing here looks at tags. Readers hand in what a file says and keep only what comes back.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta

MAX_SHIFT = 3652
"""Days, ten years: a patient's dates all move back by 1 to this many."""
OLDEST = 90.0
"""Everyone older is this old: ages above 89 identify (HIPAA safe harbour, 45 CFR 164.514 b 2)."""


@contextmanager
def discreetly() -> Iterator[None]:
    """Let no library's warning or log line out: they quote the values and paths they doubt, and one may be
    a name. Process-wide while it lasts (Python's warnings are), so not for threads."""
    log = logging.getLogger("pydicom")
    before, log.disabled = log.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = before


def keyed(key: bytes, kind: str, identifier: str) -> str:
    """HMAC-SHA256 of an identifier, hexadecimal; without the key it cannot be undone or guessed."""
    return hmac.new(
        key, f"{kind}:{identifier}".encode("utf-8", "surrogateescape"), hashlib.sha256
    ).hexdigest()


def pseudonym(key: bytes, kind: str, identifier: str) -> str:
    """The 20 hexadecimal digits that stand for a person, study, loop or file in a data set."""
    return keyed(key, kind, identifier)[:20]


def shifted_day(key: bytes, patient_id: str, day: date) -> str | None:
    """The day, ISO 8601, moved back by a number of days that is the patient's own.

    Intervals between a patient's examinations survive, the calendar does not. None for a day that
    cannot be moved (years below 10).
    """
    shift = 1 + int(keyed(key, "shift", patient_id)[:12], 16) % MAX_SHIFT
    try:
        return (day - timedelta(days=shift)).isoformat()
    except OverflowError:
        return None


def coarse_age(years: float) -> float | None:
    """Age in whole years, below two years in twelfths, above 89 as 90; None where implausible."""
    if not 0 <= years <= 130:
        return None
    if years < 2:
        return round(years * 12) / 12
    return min(float(int(years)), OLDEST)
