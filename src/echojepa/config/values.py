"""Values that settings are made of, and models are built by: what a model is fed, its size, its masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Interpolation = Literal["bilinear", "bicubic", "area"]
PositionKind = Literal["vjepa2", "interleaved", "sincos"]
SizeName = Literal["nano", "micro", "tiny", "small", "base", "large", "huge", "giant", "gigantic"]


@dataclass(frozen=True)
class InputSpec:
    """The input a model was trained on; the only owner of resolution, sampling and normalisation."""

    size: int = 224
    """Height and width in pixels."""
    frames: int = 16
    """Frames in a clip."""
    seconds: float | None = 2.0
    """Time the clip spans, from its first frame to one frame interval after its last."""
    stride: int | None = None
    """In place of `seconds`: stored frames from one frame of a clip to the next, whatever their rate."""
    resized: int | None = None
    """Side that pictures are resized to before their centre of `size` is cut; `size` itself if None."""
    interpolation: Interpolation = "bilinear"
    """How pictures are resized: bilinear is antialiased, bicubic is not (OpenCV's), area takes the mean
    of what a new pixel covers (OpenCV's, bilinear where a picture grows)."""
    value_max: float = 1.0
    """What the brightest pixel, 255, is before the mean is subtracted."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Channel means subtracted."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Channel standard deviations divided by."""

    def __post_init__(self) -> None:
        if (self.seconds is None) == (self.stride is None):
            raise ValueError(
                f"InputSpec needs either seconds or stride; got seconds={self.seconds}, stride={self.stride}"
            )
        numbers = (self.size, self.frames, self.seconds or self.stride or 0, self.value_max, *self.std)
        if min(numbers) <= 0 or (self.resized or self.size) < self.size:
            raise ValueError(
                "InputSpec needs positive size, frames, seconds or stride, value_max and std, and "
                f"resized not below size; got {self}"
            )

    @property
    def sampling(self) -> str:
        """Which frames a clip has, in words."""
        if self.stride is None:
            return f"{self.frames} frames over {self.seconds} s"
        return f"{self.frames} frames, every {self.stride} of the stored ones"


@dataclass(frozen=True)
class Size:
    """Width, depth, heads and hidden width of the MLPs of a transformer."""

    width: int
    depth: int
    heads: int
    hidden: int


SIZES: dict[SizeName, Size] = {
    "nano": Size(128, 4, 2, 512),  # ours: an hour or two of one CPU core
    "micro": Size(192, 4, 3, 768),  # ours: minutes on a laptop CPU
    "tiny": Size(192, 12, 3, 768),
    "small": Size(384, 12, 6, 1536),
    "base": Size(768, 12, 12, 3072),
    "large": Size(1024, 24, 16, 4096),
    "huge": Size(1280, 32, 16, 5120),
    "giant": Size(1408, 40, 22, 6144),  # the paper's "G", V-JEPA 2's `vit_giant_xformers`
    "gigantic": Size(1664, 48, 26, 8192),  # V-JEPA 2.1's largest
}


@dataclass(frozen=True)
class Architecture:
    """What must be known beside the tensors to rebuild an encoder."""

    size: SizeName = "large"
    """Row of the size table."""
    patch: int = 16
    """Patch height and width in pixels."""
    tubelet: int = 2
    """Frames in a tubelet."""
    position: PositionKind = "vjepa2"
    """How tokens know where they are: rotary with frequencies tiled as V-JEPA 2's weights need, rotary
    interleaved (V-JEPA 2.1), or a fixed table added to them (VideoMAE)."""
    trained_side: int | None = None
    """Tokens along a side in pretraining: rows and columns of another picture are stretched over that
    range of rotary positions (V-JEPA 2.1). None goes on counting."""

    def __post_init__(self) -> None:
        if self.trained_side is not None and (self.trained_side < 2 or self.position == "sincos"):
            raise ValueError(f"trained_side needs rotary positions and at least 2 tokens; got {self}")

    def grid(self, spec: InputSpec) -> tuple[int, int, int]:
        """Token lattice (T', H', W') of a clip of `spec`; ValueError where it does not divide."""
        if spec.size % self.patch or spec.frames % self.tubelet:
            raise ValueError(
                f"a clip of {spec.frames} frames of {spec.size} px cannot be cut into tubelets of "
                f"{self.tubelet} x {self.patch} x {self.patch}; choose multiples"
            )
        side = spec.size // self.patch
        return spec.frames // self.tubelet, side, side


@dataclass(frozen=True)
class TimeSplit:
    """What is seen and what is inferred lie apart in time: the later from the earlier or, by a coin for each
    clip, the earlier from the later. Shares are of the clip's time slots, rounded to whole ones."""

    seen: float = 0.375
    """Share of the slots, at one end of the clip, whose tokens are all seen."""
    gap: float = 0.125
    """Share after them that is neither seen nor inferred, so that no target has a neighbour in time."""
    hidden: float = 0.375
    """Share after the gap whose tokens are inferred."""

    def __post_init__(self) -> None:
        if min(self.seen, self.hidden) <= 0 or self.gap < 0 or self.seen + self.gap + self.hidden > 1:
            raise ValueError(
                f"a split in time needs seen > 0, gap >= 0 and hidden > 0 that sum to at most 1; got {self}"
            )

    def slots(self, times: int) -> tuple[int, int, int]:
        """Slots seen, from which on slots are hidden, and how many; ValueError for a clip of too few."""
        seen, hidden = round(self.seen * times), round(self.hidden * times)
        first = seen + round(self.gap * times)
        if min(seen, hidden) < 1 or first + hidden > times:
            raise ValueError(f"{self} does not fit a clip of {times} time slots; give more frames")
        return seen, first, hidden


@dataclass(frozen=True)
class MaskConfig:
    """One mask type: the union of equally sized blocks is hidden, or scattered single tokens are."""

    blocks: int
    """Blocks in a clip; 0 hides scattered tokens in their place (VideoMAE's tube mask)."""
    scale: float
    """Share of the picture that one block covers, or that the scattered tokens do; 1 only with `time`."""
    aspect: tuple[float, float] = (0.75, 1.5)
    """Range of height over width."""
    min_visible: float = 0.1
    """A draw of blocks that leaves a smaller share of tokens visible is redrawn."""
    time: TimeSplit | None = None
    """In place of the whole clip, hide these parts of the picture in a part of it, of which nothing else is
    seen either, and show the other part whole."""

    def __post_init__(self) -> None:
        whole = self.scale == 1 and self.blocks == 0 and self.time is not None
        if self.blocks < 0 or not (0 < self.scale < 1 or whole) or not 0 < self.aspect[0] <= self.aspect[1]:
            raise ValueError(
                "a mask needs blocks >= 0, 0 < scale < 1 (1 for no blocks and a split in time) and "
                f"0 < aspect low <= high; got {self}"
            )


PAPER_MASKS: tuple[MaskConfig, ...] = (MaskConfig(8, 0.15), MaskConfig(2, 0.70))
TUBE_MASK = MaskConfig(blocks=0, scale=0.9)
TIME_MASK = MaskConfig(blocks=0, scale=1.0, time=TimeSplit())
"""Everything in three eighths of the clip is inferred from all that is seen in three others."""
