"""Learning rate and EMA momentum as pure functions of the step, so that a resumed run needs no state."""

from __future__ import annotations

import math

from echojepa.config import OptimConfig


def learning_rate(config: OptimConfig, step: int, steps: int) -> float:
    """Linear warm-up from zero, constant, cooldown to lr_end; `step` counts from 0 to steps - 1."""
    rise = min(1.0, (step + 1) / max(1.0, config.warmup * steps))
    fall = min(1.0, (steps - step) / max(1.0, config.cooldown * steps))
    if config.cooldown_shape == "cosine":
        fall = 0.5 - 0.5 * math.cos(math.pi * fall)
    return min(config.lr * rise, config.lr_end + (config.lr - config.lr_end) * fall)


def ema_momentum(config: OptimConfig, step: int, steps: int) -> float:
    """Linear from ema_start at the first step to ema_end at the last."""
    share = step / max(1, steps - 1)
    return config.ema_start + share * (config.ema_end - config.ema_start)
