"""Colour Doppler: blood's velocity along the beam, as an autocorrelation estimator would find it.

The estimator (Kasai et al. 1985) turns the phase of the lag-one autocorrelation R1 between pulses into a
velocity, so what is faster than the Nyquist speed is aliased, and 1 - |R1| / R0 into a variance, so a jet
is a mosaic. R1 and R0 are made from the scene's flow directly: exp(i pi v / v_N), shrunk by the spread of
velocities in a sample, with the scatter of an estimate from a few pulses, and noise.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from echojepa.errors import ConfigError
from echojepa.phantom.planes import Pose
from echojepa.phantom.scanner.beam import Complex, Real
from echojepa.phantom.scanner.display import ScanConverter
from echojepa.phantom.scanner.settings import Colour, Scanner
from echojepa.phantom.scene import Scene
from echojepa.randomness import derive_seed

morphology: Any = ndimage  # scipy carries no types
GATE = 1.2
"""Distance between samples along a beam, mm; or as many pixels, where those are larger."""
SHOWN = 0.35
"""Power of blood below which an estimate is not shown."""
OUTLINE = (210, 210, 210)
"""Colour of the box."""


def colour_table(variance: bool) -> NDArray[np.uint8]:
    """RGB of velocity and variance (256, 64, 3): row 0 is -Nyquist, 255 +Nyquist; columns from 0 to 1.

    Towards the probe is red, then yellow; away is blue, then cyan; variance adds green.
    """
    speed = np.linspace(-1, 1, 256)[:, None]
    spread = np.linspace(0, 1, 64)[None, :] * (1.0 if variance else 0.0)
    strong, fast = np.abs(speed) ** 0.6, np.clip((np.abs(speed) - 0.45) / 0.55, 0, 1)
    main, green = 70 + 185 * strong, 215 * fast**1.3
    green = np.clip(green + 230 * np.clip(1.6 * (spread - 0.15), 0, 1), 0, 255)
    towards = np.broadcast_to(speed >= 0, green.shape)
    main = np.broadcast_to(main, green.shape)
    blank = np.zeros_like(green)
    rgb = [np.where(towards, main, blank), green, np.where(towards, blank, main)]
    return np.rint(np.stack(rgb, axis=2)).astype(np.uint8)


def wall_filter(colour: Colour, velocity: Real, spread: Real) -> Real:
    """Share of blood's power that passes: blood that is slow, or aliased to slow, is lost with the tissue."""
    aliased = (velocity + colour.nyquist) % (2 * colour.nyquist) - colour.nyquist
    return 1 - np.exp(-math.log(2) * (aliased**2 + spread**2) / colour.wall_filter**2)


class ColourFlow:
    """Colour over the grey pictures of one recording, frame by frame."""

    def __init__(self, scene: Scene, pose: Pose, scanner: Scanner, screen: ScanConverter, seed: int) -> None:
        if scanner.colour is None:
            raise ConfigError("this scanner's colour Doppler is off; give it a `colour`")
        self.scene, self.colour, self.screen = scene, scanner.colour, screen
        box = self.colour
        self.ranges = np.arange(box.near, min(box.far, scanner.depth), GATE * max(1.0, scanner.mm_per_pixel))
        beams = max(2, round(0.5 * scanner.lines * (box.right - box.left) / (2 * scanner.half_angle)))
        self.angles = np.linspace(box.left, box.right, beams)
        reach, angle = np.repeat(self.ranges, beams), np.tile(self.angles, len(self.ranges))
        self.points = pose.place(reach, angle, np.zeros_like(reach))
        away = self.points - pose.probe
        self.towards = -away / np.linalg.norm(away, axis=1, keepdims=True)
        self.table = colour_table(box.variance)
        self.inside = (screen.reach > box.near) & (screen.reach < box.far)
        self.inside &= (screen.angle > box.left) & (screen.angle < box.right)
        self.matrix = screen.onto(scanner, self.ranges, self.angles)[np.flatnonzero(self.inside)]
        self.outline = self._outline()
        self.rng = np.random.default_rng(derive_seed(seed, "colour"))
        self.last: tuple[Complex, Real] | None = None

    def estimate(self, time: float) -> tuple[Complex, Real]:
        """R1 and R0 at the box's samples (n,), with the power of blood as the unit."""
        colour, flow = self.colour, self.scene.flow(self.points, time)
        velocity = np.einsum("ij,ij->i", flow.velocity, self.towards)
        power = np.where(flow.inside, wall_filter(colour, velocity, flow.spread), 0.0)
        turn = math.pi / colour.nyquist
        like = np.exp(-0.5 * (turn * flow.spread) ** 2)
        noise = 10 ** (colour.noise / 10)
        scatter = (power * np.sqrt(1 - like**2) + noise) / math.sqrt(colour.ensemble - 1)
        random = self.rng.standard_normal((2, len(power)))
        first = power * like * np.exp(1j * turn * velocity) + scatter * (random[0] + 1j * random[1])
        total = power + noise
        if self.last is not None:
            first = first + colour.persistence * (self.last[0] - first)
            total = total + colour.persistence * (self.last[1] - total)
        self.last = first, total
        return first, total

    def paint(self, picture: NDArray[np.uint8], time: float) -> NDArray[np.uint8]:
        """A grey picture (H, W) as RGB (H, W, 3), with colour where there is flow and the grey is dark."""
        first, total = self.estimate(time)
        first, total = self.matrix @ first, self.matrix @ total
        rgb = np.repeat(picture[..., None], 3, axis=2)
        sector = rgb[self.screen.sector]
        boxed = sector[self.inside]
        shown = (total > SHOWN) & (boxed[:, 0] < 255 * self.colour.priority)
        velocity = np.angle(first[shown]) / math.pi
        variance = 1 - np.minimum(np.abs(first[shown]) / total[shown], 1)
        row = ((velocity + 1) * 127.5).astype(np.int64)
        boxed[shown] = self.table[row, (variance * 63).astype(np.int64)]
        sector[self.inside] = boxed
        rgb[self.screen.sector] = sector
        rgb[self.outline] = OUTLINE
        return rgb

    def _outline(self) -> NDArray[np.bool_]:
        """(H, W) the box's edge, one pixel wide, within the box."""
        box = np.zeros(self.screen.sector.shape, dtype=bool)
        box[self.screen.sector] = self.inside
        return box & ~morphology.binary_erosion(box)
