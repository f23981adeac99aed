"""One recording: a scene seen by a scanner from a pose, frame by frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echojepa.phantom.planes import Pose
from echojepa.phantom.scanner.artefacts import Artefacts, Bank, decibel, noise_profile
from echojepa.phantom.scanner.beam import Beam, Complex
from echojepa.phantom.scanner.display import Display
from echojepa.phantom.scanner.doppler import ColourFlow
from echojepa.phantom.scanner.settings import Scanner
from echojepa.phantom.scene import Scene
from echojepa.randomness import derive_seed

FADED = 0.05
"""Frames are made and not shown before the first, until persistence has forgotten all but this share."""


@dataclass(frozen=True)
class Draws:
    """Seeds of what chance decides in a recording. Change one and everything else is bit-identical."""

    speckle: int
    """How scatterers and blood interfere, and how that is refreshed."""
    artefacts: int
    """Where shadows, dropout and haze lie, and when the patient breathes."""
    noise: int
    """Electronic noise, in the picture and in Doppler."""
    gain: int
    """The course of the gain's drift."""

    @classmethod
    def of(cls, seed: int) -> Draws:
        """All four, as a function of one seed."""
        return cls(*(derive_seed(seed, name) for name in ("speckle", "artefacts", "noise", "gain")))


@dataclass(frozen=True)
class Acquisition:
    """What a scanner stores, before anything is drawn around it."""

    pictures: NDArray[np.uint8]
    """(T, H, W) grey, or (T, H, W, 3) RGB where colour Doppler is on."""
    sector: NDArray[np.bool_]
    """(H, W) where the ultrasound is."""


class Speckle:
    """A random complex factor for each scatterer that forgets itself at a rate of its own.

    An Ornstein-Uhlenbeck process of unit power: the correlation of two instants is exp(-gap / time constant),
    whatever the frame rate. It stands for what leaves and enters the slice, and bends within it.
    """

    def __init__(self, scanner: Scanner, seed: int) -> None:
        self.keep = math.exp(-1 / (scanner.frame_rate * scanner.decorrelation))
        self.rng = np.random.default_rng(derive_seed(seed, "scatterers"))
        self.value: Complex | None = None

    def next(self, count: int) -> Complex:
        """The factors (count,) of the next frame."""
        parts = self.rng.standard_normal(2 * count, dtype=np.float32)
        parts *= np.float32(math.sqrt(0.5))
        fresh = parts.view(np.complex64)
        if self.value is None:
            self.value = fresh
        else:
            fresh *= np.float32(math.sqrt(1 - self.keep**2))
            self.value = np.float32(self.keep) * self.value + fresh
        return self.value


class Imager:
    """Makes the complex echo of each frame in turn."""

    def __init__(self, scene: Scene, pose: Pose, scanner: Scanner, draws: Draws, density: float) -> None:
        self.scene, self.scanner = scene, scanner
        single: Any = [vector.astype(np.float32) for vector in (pose.probe, pose.lateral, pose.depth)]
        self.pose = Pose(*single)
        self.beam = Beam(scanner, density)
        self.artefacts = Artefacts(self.beam, draws.artefacts)
        self.speckle = Speckle(scanner, draws.speckle)
        level = np.full(self.beam.shape[0], decibel(scanner.blood), dtype=np.float32)
        blood = np.random.default_rng(derive_seed(draws.speckle, "blood"))
        self.blood = Bank(self.beam, blood, level, sharp=True)
        noise = np.random.default_rng(derive_seed(draws.noise, "picture"))
        self.noise = Bank(self.beam, noise, noise_profile(self.beam), sharp=False)

    def field(self, time: float) -> Complex:
        """The echo (rows, lines) at a time in s; instants must follow each other at the frame rate."""
        tissue = self.scene.tissue(time)
        positions: Any = tissue.positions.astype(np.float32, copy=False)
        ranges, angles, elevation = self.pose.project(positions)
        through = np.exp(-0.5 * (elevation / self.beam.elevation(np.maximum(ranges, 1.0))) ** 2)
        strength = (tissue.amplitude * through).astype(np.float32) * self.speckle.next(len(ranges))
        field = self.beam.tissue(self.beam.echoes(ranges, angles, strength))
        field += self.blood.frame()
        field *= self.artefacts.passing(time)
        field = self.artefacts.reverberate(field)
        field += self.artefacts.clutter(time)
        field += self.noise.frame()
        return field


def record(
    scene: Scene, pose: Pose, scanner: Scanner, frames: int, start: float, draws: Draws, density: float
) -> Acquisition:
    """Record `frames` pictures of a scene from time `start` in s.

    `density` is the number of scatterers a mm^3 of myocardium, whose root mean square amplitude is 1. The
    probe stays where `pose` holds it; sway and breathing are the scene's.
    """
    imager = Imager(scene, pose, scanner, draws, density)
    display = Display(imager.beam, draws.gain)
    before = math.ceil(math.log(FADED) / math.log(scanner.persistence)) if scanner.persistence > 0.01 else 0
    sector = display.converter.sector
    painter = ColourFlow(scene, pose, scanner, display.converter, draws.noise) if scanner.colour else None
    pictures = np.empty((frames, *sector.shape, *([3] if painter else [])), dtype=np.uint8)
    for number in range(-before, frames):
        time = start + number / scanner.frame_rate
        picture = display.show(imager.field(time), time)
        if painter is not None:
            picture = painter.paint(picture, time)
        if number >= 0:
            pictures[number] = picture
    return Acquisition(pictures, sector)
