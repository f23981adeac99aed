"""Kinds of perturbation and their severities, which plans name before anything is computed."""

from __future__ import annotations

SEVERITIES: dict[str, tuple[float, ...]] = {
    "depth-paper": (0.3, 0.5, 0.7),  # alpha
    "depth-code": (0.75, 1.5, 2.15),  # rate per image side
    "shadow-paper": (0.1, 0.2, 0.3),  # sigma / width
    "shadow-code": (0.4, 0.6, 0.8),  # strength
    "haze": (0.05, 0.1, 0.2),  # sigma / image side
    "gain-high": (6.0, 12.0, 18.0),  # dB
    "gain-low": (-6.0, -12.0, -18.0),  # dB
    "speckle": (0.2, 0.4, 0.6),  # standard deviation
    "rib-shadow": (5.0, 10.0, 20.0),  # degrees
    "frame-loss": (0.25, 0.5, 0.75),  # chance of a frame
    "crop": (0.9, 0.8, 0.7),  # share of the side kept
    "time-shuffle": (1.0,),  # all frames
    "single-frame": (1.0,),  # all frames
}
"""Levels of each kind: severity 0 is none, 1 is the first. The last two are checks that motion is read."""
