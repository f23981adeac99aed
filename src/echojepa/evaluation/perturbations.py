"""Controlled perturbations of uint8 clips, the same for every backbone: of (seed, name, loop) alone.

The stored loop is perturbed, squared with black but not yet sampled or resized, so that backbones with
other frame counts and sizes are shown the same perturbed loop. The severities of one kind share their random
draws: a curve shows more of the same shadow, not another shadow. Nothing lights up outside the sector.
docs/reference/perturbations.md has the formulas, their sources and an image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from echojepa.errors import UserError
from echojepa.evaluation.protocol.severities import SEVERITIES
from echojepa.models.contract import resize
from echojepa.randomness import derive_seed

Perturb = Callable[[Tensor, Tensor, float, Generator], Tensor]
"""(clip uint8 (..., T, H, W), sector bool (H, W), level, generator) -> the perturbed clip, uint8."""
GRAINS = 112
"""Grains of noise along a side, whatever the resolution: noise of single pixels would vanish in a resize."""
DISPLAY_DB = 60.0
"""Decibels from black to white that gain is turned into grey levels with."""


@dataclass(frozen=True)
class Perturbation:
    """One kind of perturbation in graded severities; severity 0 is none, 1 is `levels[0]`."""

    name: str
    levels: tuple[float, ...]
    perturb: Perturb

    def apply(self, clip: Tensor, sector: Tensor, severity: int, *, seed: int, loop_id: str) -> Tensor:
        """The perturbed clip, uint8 of the same shape; severity 0 gives the clip itself.

        `clip` (..., T, H, W) uint8 and `sector` (H, W), true where there is an image. A frame's channels get
        the same. Raises TypeError for clips that are not uint8 (perturbations belong before normalisation),
        UserError for a severity that there is not.
        """
        if clip.dtype != torch.uint8:
            raise TypeError(f"perturbations need uint8 clips; got {clip.dtype}")
        if sector.shape != clip.shape[-2:]:
            raise ValueError(
                f"sector {tuple(sector.shape)} must have the clip's size {tuple(clip.shape[-2:])}"
            )
        if not 0 <= severity <= len(self.levels):
            raise UserError(f"{self.name} has severities 0 to {len(self.levels)}; got {severity}")
        if severity == 0:
            return clip
        generator = torch.Generator().manual_seed(derive_seed(seed, f"perturbation {self.name} {loop_id}"))
        return self.perturb(clip, sector.to(clip.device).bool(), self.levels[severity - 1], generator)


def grey(values: Tensor) -> Tensor:
    """Float grey levels, used up, as uint8: rounded and cut to 0 to 255."""
    return values.round_().clamp_(0, 255).to(torch.uint8)


def uniform(generator: Generator, *shape: int) -> Tensor:
    """Uniform draws in [0, 1), made on the CPU so that every device has the same."""
    return torch.rand(shape, generator=generator)


def fraction_grid(height: int, width: int) -> tuple[Tensor, Tensor]:
    """y (H, 1) and x (1, W) from 0 at the first pixel to 1 at the last."""
    return torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)[None, :]


def linear_attenuation(height: int, alpha: float) -> Tensor:
    """max(0, 1 - alpha y / H) of each row, (H, 1): the paper's main text."""
    return (1 - alpha * torch.arange(height) / height).clamp_min(0)[:, None]


def exponential_attenuation(height: int, width: int, rate: float) -> Tensor:
    """exp(-rate r), r the distance from the top centre in image sides, (H, W): the released code."""
    y, x = fraction_grid(height, width)
    return torch.exp(-rate * torch.sqrt((x - 0.5) ** 2 + y**2))


def column_shadow(width: int, centre: float, sigma: float) -> Tensor:
    """1 - exp(-(x - centre)^2 / 2 sigma^2), pixels, of each column (1, W): the paper's main text."""
    return (1 - torch.exp(-((torch.arange(width) - centre) ** 2) / (2 * sigma**2)))[None, :]


def spot_shadow(shape: tuple[int, int], centre: tuple[float, float], strength: float, sigma: float) -> Tensor:
    """1 - strength x a Gaussian spot at `centre` (y, x) pixels, sigma a share of each side: released code."""
    height, width = shape
    down = ((torch.arange(height) - centre[0]) / (sigma * height)) ** 2
    across = ((torch.arange(width) - centre[1]) / (sigma * width)) ** 2
    return 1 - strength * torch.exp(-(down[:, None] + across[None, :]) / 2)


def haze_ring(height: int, width: int, radius: float, sigma: float) -> Tensor:
    """exp(-(r - radius)^2 / 2 sigma^2), r the distance from the top centre in image sides, (H, W)."""
    y, x = fraction_grid(height, width)
    return torch.exp(-((torch.sqrt((x - 0.5) ** 2 + y**2) - radius) ** 2) / (2 * sigma**2))


def depth_paper(clip: Tensor, sector: Tensor, level: float, generator: Generator) -> Tensor:
    """Linear darkening with depth."""
    return grey(clip * linear_attenuation(clip.shape[-2], level).to(clip.device))


def depth_code(clip: Tensor, sector: Tensor, level: float, generator: Generator) -> Tensor:
    """Exponential darkening with the distance from the top centre."""
    height, width = clip.shape[-2:]
    return grey(clip * exponential_attenuation(height, width, level).to(clip.device))


def shadow_paper(clip: Tensor, sector: Tensor, level: float, generator: Generator) -> Tensor:
    """A full shadow over all depths, its place uniform over the width."""
    width = clip.shape[-1]
    centre = uniform(generator, 1).item() * width
    return grey(clip * column_shadow(width, centre, level * width).to(clip.device))


def shadow_code(clip: Tensor, sector: Tensor, level: float, generator: Generator) -> Tensor:
    """A spot of shadow, its place uniform over the middle 60 % of both sides; stronger ones are wider."""
    height, width = clip.shape[-2:]
    down, across = (0.2 + 0.6 * uniform(generator, 2)).tolist()
    shadow = spot_shadow((height, width), (down * height, across * width), level, 0.05 + level / 4)
    return grey(clip * shadow.to(clip.device))


def haze(clip: Tensor, sector: Tensor, level: float, generator: Generator) -> Tensor:
    """A standing, grainy arc of light at one depth, up to half of full white."""
    height, width = clip.shape[-2:]
    radius = 0.3 + 0.4 * uniform(generator, 1).item()
    grains = spread_grains(uniform(generator, 1, GRAINS, GRAINS), height, width)[0]
    light = 255 * 0.5 * grains * haze_ring(height, width, radius, level)
    return grey(clip + light.to(clip.device) * sector)


def gain(clip: Tensor, sector: Tensor, level: float, generator: Generator) -> Tensor:
    """Gain in decibels: after log compression a shift of all grey levels of the sector."""
    return grey(clip + 255 * level / DISPLAY_DB * sector)


def speckle(clip: Tensor, sector: Tensor, level: float, generator: Generator) -> Tensor:
    """Each frame multiplied with grains of its own: 1 + level x standard normal, never below 0."""
    height, width = clip.shape[-2:]
    grains = torch.randn(clip.shape[-3], GRAINS, GRAINS, generator=generator)
    return grey(clip * (1 + level * spread_grains(grains, height, width)).clamp_min(0).to(clip.device))


def rib_shadow(clip: Tensor, sector: Tensor, level: float, generator: Generator) -> Tensor:
    """A wedge of `level` degrees from the transducer down, nine tenths dark, with an edge of a degree.

    Its middle is uniform within 30 degrees of straight down from the sector's highest point.
    """
    height, width = clip.shape[-2:]
    rows, columns = torch.nonzero(sector.cpu(), as_tuple=True)
    if not len(rows):
        return clip
    top = rows.min()
    apex = columns[rows == top].float().mean()
    y, x = torch.arange(height)[:, None] - top, torch.arange(width)[None, :] - apex
    angle = torch.rad2deg(torch.atan2(x, y.float()))
    middle = 60 * uniform(generator, 1).item() - 30
    inside = torch.sigmoid((level / 2 - (angle - middle).abs()) * 4)
    return grey(clip * (1 - 0.9 * inside).to(clip.device))


def frame_loss(clip: Tensor, sector: Tensor, level: float, generator: Generator) -> Tensor:
    """Each frame but the first is lost with chance `level`; the last one that came stays on the screen."""
    frames = clip.shape[-3]
    lost = uniform(generator, frames) < level
    lost[0] = False
    shown = torch.where(lost, 0, torch.arange(frames)).cummax(0).values
    return clip.index_select(-3, shown.to(clip.device))


def crop(clip: Tensor, sector: Tensor, level: float, generator: Generator) -> Tensor:
    """A window of `level` of each side, somewhere, enlarged to the whole: zoomed and off centre."""
    height, width = clip.shape[-2:]
    tall, wide = round(level * height), round(level * width)
    down, across = uniform(generator, 2).tolist()
    top, left = round(down * (height - tall)), round(across * (width - wide))
    return resize(clip[..., top : top + tall, left : left + wide], (height, width))


def time_shuffle(clip: Tensor, sector: Tensor, level: float, generator: Generator) -> Tensor:
    """The same frames in an order without sense: what a model still reads is not motion."""
    order = torch.randperm(clip.shape[-3], generator=generator)
    return clip.index_select(-3, order.to(clip.device))


def single_frame(clip: Tensor, sector: Tensor, level: float, generator: Generator) -> Tensor:
    """One frame, drawn at random, all the time: what a model still reads is one image."""
    frame = int(torch.randint(clip.shape[-3], (), generator=generator))
    return clip[..., frame : frame + 1, :, :].expand(clip.shape).contiguous()


def spread_grains(grains: Tensor, height: int, width: int) -> Tensor:
    """Grains (n, g, g) over images (n, height, width), each of one value, so that their spread is kept."""
    return F.interpolate(grains[:, None], (height, width), mode="nearest-exact")[:, 0]


FUNCTIONS: dict[str, Perturb] = {
    "depth-paper": depth_paper,
    "depth-code": depth_code,
    "shadow-paper": shadow_paper,
    "shadow-code": shadow_code,
    "haze": haze,
    "gain-high": gain,
    "gain-low": gain,
    "speckle": speckle,
    "rib-shadow": rib_shadow,
    "frame-loss": frame_loss,
    "crop": crop,
    "time-shuffle": time_shuffle,
    "single-frame": single_frame,
}

PERTURBATIONS = {name: Perturbation(name, levels, FUNCTIONS[name]) for name, levels in SEVERITIES.items()}
"""Every kind by name."""
