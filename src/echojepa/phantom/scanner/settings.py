"""Every setting of one recording, and what physics allows of them; independent of the patient."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from echojepa.errors import ConfigError

SOUND_SPEED = 1540.0
"""m/s in soft tissue."""
SLIDERS = 8
"""Time-gain sliders, evenly spread over the depth."""


class GreyMap(StrEnum):
    """Curves from compressed echo to grey, as scanners offer by letter."""

    LINEAR = "linear"
    SOFT = "soft"
    STEEP = "steep"
    BRIGHT = "bright"


@dataclass(frozen=True)
class Colour:
    """Settings of colour Doppler; velocities towards the probe are positive."""

    near: float
    """Range at which the box begins, mm."""
    far: float
    """Range at which it ends, mm."""
    left: float
    """Angle of its left edge, radians."""
    right: float
    """Angle of its right edge, radians."""
    frequency: float
    """Centre frequency of the Doppler pulses, Hz."""
    repetition: float
    """Pulses a second along one line (PRF)."""
    ensemble: int = 8
    """Pulses that one estimate is made of."""
    wall_filter: float = 0.12
    """Speeds below this, m/s, are taken for moving tissue and removed."""
    noise: float = -18.0
    """Power of noise in an estimate, decibels of that of blood."""
    priority: float = 0.45
    """Colour is written where the grey is below this share of white."""
    persistence: float = 0.3
    """Share of the last frame's estimates in this frame's."""
    variance: bool = True
    """Whether green is mixed in where velocities within a sample differ, as in a jet."""

    def __post_init__(self) -> None:
        if not (0 < self.near < self.far and self.left < self.right):
            raise ConfigError(
                f"a colour box needs 0 < near < far and left < right; got {self.near}, {self.far} mm and "
                f"{self.left}, {self.right} radians"
            )
        highest = 1000 * SOUND_SPEED / (2 * self.far)
        if not 0 < self.repetition <= highest:
            raise ConfigError(
                f"echoes from {self.far} mm allow up to {highest:.0f} pulses a second; got {self.repetition}"
            )

    @property
    def nyquist(self) -> float:
        """The highest speed along the beam that is not aliased, m/s: c PRF / (4 f)."""
        return SOUND_SPEED * self.repetition / (4 * self.frequency)


@dataclass(frozen=True)
class Scanner:
    """Settings of one recording. Decibels are relative to myocardium's mean echo power."""

    depth: float
    """Depth of the picture, mm."""
    half_angle: float
    """Half the sector's opening, radians."""
    frame_rate: float
    """Frames a second."""
    height: int = 120
    """Height of the sector's picture, pixels."""
    face: float = 2.0
    """Radius of the probe's face, mm: nothing nearer to the beams' origin is shown."""
    lines: int = 120
    """Beams in a frame."""
    parallel: int = 2
    """Beams received from one pulse."""
    frequency: float = 2.5e6
    """Centre frequency of the received pulse, Hz."""
    cycles: float = 3.0
    """Length of the pulse in periods (full width at half maximum)."""
    aperture: float = 20.0
    """Width of the probe's face, mm."""
    focus: float = 80.0
    """Depth of the transmit focus, mm."""
    dynamic_range: float = 55.0
    """Decibels between black and white."""
    gain: float = 0.0
    """Decibels added to everything."""
    slope: float = 0.0
    """Decibels lost over the whole depth that the time-gain compensation does not give back."""
    sliders: tuple[float, ...] = (0.0,) * SLIDERS
    """Decibels that each time-gain slider adds around its depth."""
    grey_map: GreyMap = GreyMap.LINEAR
    """Curve from compressed echo to grey."""
    persistence: float = 0.2
    """Share of the last frame's picture in this frame's."""
    speckle: float = 0.7
    """Share of the speckle that the scanner's smoothing leaves, 0 to 1."""
    decorrelation: float = 0.12
    """Seconds after which the speckle of tissue that stands still is correlated by 1/e with what it was."""
    noise: float = -28.0
    """Electronic noise at the bottom of the picture; above it is as much lower as the compensation is."""
    blood: float = -34.0
    """Echo of blood."""
    side_lobes: float = -42.0
    """Peak of the side lobes, decibels of the main beam's (amplitude, two-way)."""
    haze: float = -16.0
    """Clutter in front of the picture, which hardly moves, at the probe."""
    haze_depth: float = 35.0
    """Depth over which the haze falls by a factor e in amplitude, mm."""
    ring_down: float = 12.0
    """Echo of the probe itself at its face."""
    reverberation: float = -30.0
    """Copies of strong reflectors below them, decibels of the original."""
    ribs: int = 0
    """Shadows of ribs or costal cartilage at the sector's edges, 0 to 2."""
    lung: float = 0.0
    """Angle at one edge of the sector that lung covers at rest, radians."""
    dropout: float = 6.0
    """Decibels lost at the worst place for want of contact or of a good angle."""
    gain_drift: float = 1.0
    """Decibels by which the gain wanders either way over a loop."""
    colour: Colour | None = None
    """Colour Doppler, where it is on."""

    def __post_init__(self) -> None:
        if not self.frame_rate <= self.fastest * (1 + 1e-9):
            raise ConfigError(
                f"{self.lines} lines of {self.depth:.0f} mm, {self.parallel} at a time, allow at most "
                f"{self.fastest:.1f} frames a second; got {self.frame_rate:.1f}"
            )
        if len(self.sliders) != SLIDERS:
            raise ConfigError(f"there are {SLIDERS} time-gain sliders; got {len(self.sliders)}")
        if not (0 <= self.persistence < 1 and 0 <= self.speckle <= 1 and self.decorrelation > 0):
            raise ConfigError(
                "persistence must be in [0, 1), speckle in [0, 1] and decorrelation above 0 s; got "
                f"{self.persistence}, {self.speckle}, {self.decorrelation}"
            )

    @property
    def fastest(self) -> float:
        """Frames a second that the speed of sound allows: every pulse waits for its deepest echo."""
        seconds = self.lines / self.parallel * 2 * self.depth / (1000 * SOUND_SPEED)
        if self.colour is not None:
            share = (self.colour.right - self.colour.left) / (2 * self.half_angle)
            lines = 0.5 * self.lines * share
            seconds += lines / self.parallel * self.colour.ensemble / self.colour.repetition
        return 1 / seconds

    @property
    def wavelength(self) -> float:
        """Wavelength of the received pulse, mm."""
        return 1000 * SOUND_SPEED / self.frequency

    @property
    def mm_per_pixel(self) -> float:
        """Size of a pixel, mm."""
        return self.depth / self.height

    @property
    def width(self) -> int:
        """Width of the sector's picture, pixels."""
        return 2 * math.ceil(self.height * math.sin(self.half_angle)) + 1


class Nuisance(StrEnum):
    """How much a recording is spoiled, as a dose."""

    LOW = "low"
    STANDARD = "standard"
    HIGH = "high"


def at_level(scanner: Scanner, level: Nuisance) -> Scanner:
    """The same recording with less or more of speckle contrast and decorrelation, clutter and gain drift.

    Standard is the scanner as it is. Low quarters what high quadruples: decorrelation is four times slower or
    faster, haze 8 dB and side lobes 5 dB weaker or stronger, the drift of the gain a quarter or fourfold;
    half the speckle is smoothed away, or none.
    """
    if level == Nuisance.STANDARD:
        return scanner
    dose = 1 if level == Nuisance.HIGH else -1
    return replace(
        scanner,
        speckle=1.0 if dose > 0 else 0.5 * scanner.speckle,
        decorrelation=scanner.decorrelation * 4.0**-dose,
        haze=scanner.haze + 8.0 * dose,
        side_lobes=scanner.side_lobes + 5.0 * dose,
        gain_drift=scanner.gain_drift * 4.0**dose,
    )
