"""Populations of scanner settings: each site's habits, from which one recording's settings are drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import numpy as np

from echojepa.phantom.scanner.settings import SLIDERS, SOUND_SPEED, Colour, GreyMap, Scanner

Span = tuple[float, float]
"""Lowest and highest value of an even draw."""


@dataclass(frozen=True)
class Preset:
    """Habits of a site: the span of every setting, in `Scanner`'s units unless said otherwise."""

    depth: Span
    opening: Span
    """Half the sector's opening, degrees."""
    frequency: Span
    """MHz, as transmitted."""
    grey_maps: tuple[GreyMap, ...]
    harmonic: float
    """Share of recordings that listen at 1.6 times the frequency: sharper and cleaner, but noisier."""
    parallel: int = 2
    lines: Span = (96, 160)
    hurry: Span = (0.6, 1.0)
    """Frame rate as a share of what physics and the limit allow."""
    limit: float = 50.0
    """The highest frame rate at which loops are stored."""
    cycles: Span = (2.2, 3.4)
    aperture: Span = (16, 22)
    focus: Span = (0.45, 0.7)
    """Share of the depth."""
    dynamic_range: Span = (48, 62)
    gain: Span = (-3, 6)
    slope: Span = (-3, 9)
    slider: float = 2.0
    """The furthest that a time-gain slider stands from its middle, dB."""
    persistence: Span = (0.1, 0.4)
    speckle: Span = (0.5, 0.9)
    decorrelation: Span = (0.05, 0.2)
    noise: Span = (-30, -18)
    blood: Span = (-36, -27)
    side_lobes: Span = (-46, -38)
    haze: Span = (-20, -4)
    haze_depth: Span = (15, 45)
    ring_down: Span = (4, 18)
    reverberation: Span = (-42, -26)
    ribs: float = 0.35
    """Mean number of rib shadows."""
    lung: float = 0.3
    """Share of recordings with lung at one edge."""
    dropout: Span = (6, 26)
    gain_drift: Span = (0.3, 1.5)


SHARP = Preset(
    depth=(140, 180), opening=(38, 45), frequency=(1.6, 1.9), harmonic=0.9, parallel=4,
    grey_maps=(GreyMap.STEEP, GreyMap.LINEAR), lines=(140, 200), speckle=(0.5, 0.85), persistence=(0.0, 0.25),
)  # fmt: skip
"""Harmonic, many lines, little smoothing, a steep grey curve."""
SMOOTH = Preset(
    depth=(145, 190), opening=(36, 42), frequency=(1.7, 2.2), harmonic=0.7, parallel=4,
    grey_maps=(GreyMap.LINEAR, GreyMap.SOFT, GreyMap.BRIGHT), dynamic_range=(56, 68), speckle=(0.25, 0.55),
    persistence=(0.3, 0.55), limit=45.0, gain=(-9, 1),
)  # fmt: skip
"""Strong smoothing and persistence, a wide dynamic range."""
PLAIN = Preset(
    depth=(150, 200), opening=(34, 44), frequency=(2.2, 3.0), harmonic=0.2, parallel=1,
    grey_maps=(GreyMap.LINEAR, GreyMap.SOFT), lines=(84, 120), cycles=(2.8, 4.0), noise=(-26, -14),
    haze=(-14, 0), side_lobes=(-42, -34), dynamic_range=(46, 60), limit=36.0, ribs=0.6,
    slope=(0, 12), gain=(-5, 4),
)  # fmt: skip
"""Older or portable machines: the fundamental, fewer lines, more clutter and noise."""
CHILDREN = Preset(
    depth=(55, 110), opening=(38, 48), frequency=(3.2, 4.8), harmonic=0.5, parallel=4,
    grey_maps=(GreyMap.LINEAR, GreyMap.STEEP), lines=(110, 180), limit=90.0,
    aperture=(11, 15), speckle=(0.6, 1.0), decorrelation=(0.03, 0.12), noise=(-28, -18), ribs=0.15, lung=0.15,
    haze_depth=(8, 22),
)  # fmt: skip
"""Small probes, high frequencies, shallow and fast. A caller that knows the body sets `depth` itself."""
OESOPHAGUS = Preset(
    depth=(90, 140), opening=(43, 45), frequency=(4.0, 5.5), harmonic=0.0, parallel=2,
    grey_maps=(GreyMap.LINEAR, GreyMap.STEEP), aperture=(9, 12), noise=(-28, -18), haze=(-26, -12),
    haze_depth=(8, 20), ribs=0.0, lung=0.0, dropout=(2, 12),
)  # fmt: skip
"""From within the oesophagus: near, clear, no ribs."""


def draw_scanner(rng: np.random.Generator, preset: Preset, depth: float | None = None) -> Scanner:
    """Settings of one recording, independent of the patient; `depth` in mm overrides the preset's.

    The number of draws does not depend on the preset or on any value drawn.
    """
    spans = [field.name for field in fields(Preset) if isinstance(getattr(preset, field.name), tuple)]
    spans.remove("grey_maps")
    at = {}
    for name, share in zip(spans, rng.random(len(spans)), strict=True):
        low, high = getattr(preset, name)
        at[name] = low + (high - low) * float(share)
    sliders = tuple((preset.slider * rng.uniform(-1, 1, SLIDERS)).tolist())
    chance = rng.random(4)
    listening = chance[0] < preset.harmonic
    depth = at["depth"] if depth is None else depth
    lines = round(at["lines"])
    fastest = preset.parallel / lines * 1000 * SOUND_SPEED / (2 * depth)
    plain = "cycles aperture dynamic_range gain slope persistence speckle decorrelation blood haze_depth"
    plain += " ring_down reverberation dropout gain_drift"
    return Scanner(
        depth=depth,
        half_angle=math.radians(at["opening"]),
        frame_rate=at["hurry"] * min(preset.limit, fastest),
        lines=lines,
        parallel=preset.parallel,
        frequency=1e6 * at["frequency"] * (1.6 if listening else 1.0),
        focus=at["focus"] * depth,
        sliders=sliders,
        grey_map=preset.grey_maps[int(chance[1] * len(preset.grey_maps))],
        noise=at["noise"] + (3.0 if listening else 0.0),
        side_lobes=at["side_lobes"] - (4.0 if listening else 0.0),
        haze=at["haze"] - (5.0 if listening else 0.0),
        ribs=int(chance[2] < preset.ribs) + int(chance[2] < preset.ribs / 4),
        lung=0.12 + 0.25 * float(chance[3]) / preset.lung if chance[3] < preset.lung else 0.0,
        **{name: at[name] for name in plain.split()},
    )


def with_colour(scanner: Scanner, rng: np.random.Generator, box: Colour | None = None) -> Scanner:
    """The scanner with colour Doppler on: slower, as every line in the box needs many pulses.

    Without a `box` a broad one in the middle of the sector. The pulse repetition is 70 to 100 % of what the
    box's depth allows.
    """
    share = rng.random(6).tolist()
    if box is None:
        near, far = (0.25 + 0.15 * share[0]) * scanner.depth, (0.7 + 0.2 * share[1]) * scanner.depth
        half = (0.35 + 0.3 * share[2]) * scanner.half_angle
        middle = 0.4 * (share[3] - 0.5) * scanner.half_angle
        box = Colour(
            near=near,
            far=far,
            left=middle - half,
            right=middle + half,
            frequency=0.8 * min(scanner.frequency, 4e6),
            repetition=(0.7 + 0.3 * share[4]) * 1000 * SOUND_SPEED / (2 * far),
            wall_filter=0.06 + 0.08 * share[5],
        )
    slower = replace(scanner, colour=box, frame_rate=1.0)
    return replace(slower, frame_rate=min(scanner.frame_rate, 0.9 * slower.fastest))
