"""A check that many settings share."""

from __future__ import annotations

from echojepa.errors import ConfigError


def check_least(settings: object, least: int, *names: str) -> None:
    """ConfigError for a setting, or an entry of one, below `least`; None stands for no number."""
    for name in names:
        given = getattr(settings, name)
        numbers = given if isinstance(given, tuple) else (given,)
        if any(number is not None and number < least for number in numbers):
            raise ConfigError(f"{name} must be at least {least}; got {given}")
