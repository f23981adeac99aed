"""The root of every error that a user can mend."""

from __future__ import annotations


class UserError(ValueError):
    """What was given, what is allowed and what to do: a whole sentence, shown without a traceback."""


class ConfigError(UserError):
    """A setting is unknown, impossible, or contradicts another."""
