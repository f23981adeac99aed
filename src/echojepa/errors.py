"""The root of every error that a user can mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """What was given, what is allowed and what to do: a whole sentence, shown without a traceback."""


class ConfigError(UserError):
    """A setting is unknown, impossible, or contradicts another."""


def unknown(word: str, known: Iterable[str], what: str) -> ConfigError:
    """The error for an unknown name: the known ones, and the likely meaning."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return ConfigError(f"unknown {what} '{word}'. Known: {', '.join(names)}.{hint}")
