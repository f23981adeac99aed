"""When the heart does what: R waves, the phases of a beat, and the curves that chambers follow.

Electromechanical timing is a function of the beat's own length: systole (R wave to aortic closure) lasts
0.35 s at 60 and 0.22 s at 130 beats a minute. Curves are smooth within a beat and join where beats of
different length meet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

LONGEST = 60.0
"""Seconds that a rhythm lasts; recordings lie inside."""

# Phases of a beat grow with its length, or with the square root of it, as Bazett scaled the QT interval. The
# numbers are assumed, near the systolic time intervals of resting adults (Weissler 1968, Circulation 37:149).
SYSTOLE = (0.10, 0.25)
"""R wave to aortic closure: seconds, and share of the beat's length that is added."""
LONGEST_SYSTOLE = 0.55
"""Share of a beat that systole takes at most."""
CONTRACTION, RELAXATION = 0.05, 0.07
"""Isovolumic contraction and relaxation, s at a length of 1 s."""
LONGEST_RELAXATION = 0.12
"""Share of a beat that isovolumic relaxation takes at most."""
EARLY_FILLING, KICK = 0.22, 0.16
"""Early filling, and the atrial kick before the next R wave, s at a length of 1 s."""
LONGEST_KICK = 0.42
"""Share of diastole that the kick takes at most."""
SHORTEST_BEAT, LONGEST_BEAT = 0.55, 1.7
"""Bounds of a beat's length over the mean's."""
BREATHING = 0.25
"""Breaths a second that a sinus rhythm follows (respiratory arrhythmia)."""
OWN_VARIATION, BREATH_VARIATION = 0.6, 1.1
"""Weights of chance and of breathing in a sinus beat's length."""
SKEW = 0.8
"""Exponent of ejection's share of time: below 1, its peak of flow comes early."""
RECOVERY = 0.75
"""Share of a usual diastole after which a fibrillating ventricle is full."""
EMPTIED_EARLY, EMPTIED_BY_KICK = 0.6, 0.4
"""Shares of an atrium's reservoir that leave in early filling and by its kick."""
LEAFLET_TIME = 0.03
"""Time that leaflets need to swing, s at a length of 1 s."""


@dataclass(frozen=True)
class Instant:
    """The state of a beat at one time; shares run 0 to 1."""

    phase: float
    """0 at the R wave, 1 at the next."""
    contraction: float
    """0 with the ventricles at their largest, 1 at their smallest."""
    filling: bool
    """Whether mitral and tricuspid valves are open."""
    pressure: float
    """Right ventricular pressure between its diastolic (0) and systolic (1) value."""
    reservoir: float
    """Filling of the atria: 0 at their smallest, 1 at their largest."""


@dataclass(frozen=True)
class Timing:
    """The phases of one beat, s after its R wave."""

    opening: float
    """Aortic valve opens (end of isovolumic contraction)."""
    closing: float
    """Aortic valve closes."""
    mitral: float
    """Mitral valve opens (end of isovolumic relaxation)."""
    early: float
    """Early filling ends."""
    kick: float
    """Atrial contraction begins."""
    length: float
    """Next R wave."""


def timing_of(length: float) -> Timing:
    """Phases of a beat of this length, s."""
    brief = math.sqrt(length)
    closing = min(SYSTOLE[0] + SYSTOLE[1] * length, LONGEST_SYSTOLE * length)
    mitral = closing + min(RELAXATION * brief, LONGEST_RELAXATION * length)
    rest = length - mitral
    kick = length - min(KICK * brief, LONGEST_KICK * rest)
    return Timing(
        CONTRACTION * brief, closing, mitral, min(mitral + EARLY_FILLING * brief, kick), kick, length
    )


def ramp(value: float, low: float, high: float) -> float:
    """0 below `low`, 1 above `high`, half a cosine between."""
    share = min(max((value - low) / max(high - low, 1e-9), 0.0), 1.0)
    return 0.5 - 0.5 * math.cos(math.pi * share)


@dataclass(frozen=True)
class Rhythm:
    """The beats of one patient from 0 to `LONGEST` seconds."""

    heart_rate: float
    """Mean beats a minute."""
    variability: float
    """Standard deviation of a beat's length over its mean."""
    fibrillation: bool
    """Irregular, without kick; short beats fill incompletely, so that the next ejects less."""
    early_share: float
    """Share of filling before the kick."""
    seed: int
    """Of the beats' lengths."""

    @cached_property
    def r_waves(self) -> NDArray[np.float64]:
        """Times of the R waves, s; the first lies before 0 and the last beyond `LONGEST`."""
        rng, mean = np.random.default_rng(self.seed), 60 / self.heart_rate
        count = math.ceil(LONGEST / (0.5 * mean)) + 8
        white = rng.standard_normal(count)
        if not self.fibrillation:
            breath = np.sin(2 * math.pi * np.arange(count) * mean * BREATHING + rng.uniform(0, 6.3))
            white = OWN_VARIATION * white + BREATH_VARIATION * breath
        lengths = mean * np.clip(1 + self.variability * white, SHORTEST_BEAT, LONGEST_BEAT)
        times = np.cumsum(lengths) - lengths[0] - rng.uniform(0, 1) * lengths[0]
        return times[: int(np.searchsorted(times, LONGEST)) + 3]

    def beat(self, time: float) -> tuple[float, Timing]:
        """Seconds since the R wave, and the timing of the beat that a time lies in."""
        number = int(np.searchsorted(self.r_waves, time, side="right")) - 1
        number = min(max(number, 0), len(self.r_waves) - 2)
        start, end = self.r_waves[number], self.r_waves[number + 1]
        return time - float(start), timing_of(float(end - start))

    def left_over(self, time: float) -> float:
        """Contraction not yet undone when the beat of `time` began: 0 but in fibrillation."""
        if not self.fibrillation:
            return 0.0
        number = int(np.searchsorted(self.r_waves, time, side="right")) - 1
        if number < 1:
            return 0.0
        timing = timing_of(float(self.r_waves[number] - self.r_waves[number - 1]))
        return self.unfilled(timing.length, timing)

    def unfilled(self, since: float, timing: Timing) -> float:
        """Contraction still left during diastole, 1 falling to 0 (or to what a short beat leaves)."""
        if self.fibrillation:
            usual = timing_of(60 / self.heart_rate)
            return 1 - ramp(since, timing.mitral, timing.mitral + RECOVERY * (usual.length - usual.mitral))
        early = ramp(since, timing.mitral, timing.early)
        return 1 - self.early_share * early - (1 - self.early_share) * ramp(since, timing.kick, timing.length)

    def at(self, time: float) -> Instant:
        """The state at a time, s."""
        since, timing = self.beat(time)
        if since < timing.mitral:
            # Ejection is skewed: quick at first, so the peak of flow comes in its first third.
            share = min(max((since - timing.opening) / (timing.closing - timing.opening), 0.0), 1.0)
            start = self.left_over(time)
            contraction = start + (1 - start) * ramp(share**SKEW, 0.0, 1.0)
        else:
            contraction = self.unfilled(since, timing)
        if self.fibrillation:
            reservoir = contraction
        else:
            fill = ramp(since, 0.3 * timing.opening, timing.mitral)
            empty = ramp(since, timing.mitral, timing.early)
            kick = ramp(since, timing.kick, timing.length)
            reservoir = fill - EMPTIED_EARLY * empty - EMPTIED_BY_KICK * kick
        return Instant(
            phase=since / timing.length,
            contraction=contraction,
            filling=since > timing.mitral,
            pressure=ramp(since, 0.0, timing.opening + 0.25 * (timing.closing - timing.opening))
            * (1 - ramp(since, timing.closing - 0.01 * timing.length, timing.mitral + 0.03 * timing.length)),
            reservoir=reservoir,
        )

    def full(self, contraction: float) -> Instant:
        """The end of diastole (0) or of systole (1) of a beat that filled completely."""
        return Instant(0.0, contraction, False, contraction, contraction)

    def openings(self, time: float) -> tuple[float, float]:
        """How far mitral/tricuspid and aortic/pulmonary leaflets are open, 0 to 1."""
        since, timing = self.beat(time)
        swing = LEAFLET_TIME * math.sqrt(timing.length)
        arterial = ramp(since, timing.opening, timing.opening + swing) * (
            1 - ramp(since, timing.closing - 1.6 * swing, timing.closing)
        )
        drift = 1 - 0.6 * ramp(since, timing.mitral + 0.5 * (timing.early - timing.mitral), timing.early)
        if not self.fibrillation:
            middle = timing.kick + 0.5 * (timing.length - timing.kick)
            drift += 0.45 * ramp(since, timing.kick, middle) - 0.85 * ramp(since, middle, timing.length)
        venous = ramp(since, timing.mitral, timing.mitral + 2.2 * swing) * drift
        if since < swing:
            previous = 0.4 if self.fibrillation else 0.0
            venous = previous * (1 - ramp(since, 0.0, swing))
        return max(venous, 0.0), arterial
