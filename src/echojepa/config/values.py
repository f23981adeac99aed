"""Values that settings are made of, and models are built by: what a model is fed, its size, its masks."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from typing import Literal

from echojepa.errors import ConfigError
from echojepa.files.records import LATER

Interpolation = Literal["bilinear", "linear", "bicubic", "area"]
PositionKind = Literal["vjepa2", "interleaved", "sincos", "table"]
MOST_TOKENS = 2**18
"""Tokens of a clip at most: 64 frames of 1,440 px in tubelets of 2 x 16 x 16."""
MOST_PIXELS = 8192
"""Pixels of a side, and frames of a clip, at most."""
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
    """How pictures are resized: bilinear is antialiased, linear and bicubic are not, area takes the mean of
    what a new pixel covers. The last three are OpenCV's, area also where a picture grows."""
    value_max: float = 1.0
    """What the brightest pixel, 255, is before the mean is subtracted."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Channel means subtracted."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Channel standard deviations divided by."""
    margin: float = field(default=0.0, repr=False, metadata=LATER)
    """Share of the side that is cut off each side first, in whole pixels, rounded down (EchoPrime's)."""
    clips: Literal["even", "halves"] = field(default="even", repr=False, metadata=LATER)
    """Where a loop's clips begin, and what is done with one that is shorter than a clip. `even`: evenly
    spaced over the loop, which is played forwards and backwards. `halves`: at the start of each half (third,
    ..., by the number of clips), the last frame repeated, and of pictures that are not square the middle:
    what the released probes were trained on."""
    mm: float | None = field(default=None, repr=False, metadata=LATER)
    """Millimetres a pixel: pictures are shown at this scale, from their top and about their middle column, in
    place of whole. Frames a second are `frames` / `seconds`: EchoJEPAv2's 0.36 mm and 24 a second are
    mm=0.36, seconds=frames/24. None shows the whole picture, whatever its scale."""

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
        if self.size > MOST_PIXELS or self.frames > MOST_PIXELS or not 0 <= self.margin < 0.5:
            raise ValueError(
                f"InputSpec has at most {MOST_PIXELS} pixels a side and as many frames, and a margin below "
                f"0.5; got {self}"
            )
        whole = not self.margin and self.resized is None and self.clips == "even"
        if self.mm is not None and not (self.mm > 0 and whole and self.interpolation == "bilinear"):
            raise ValueError(
                f"mm must be above 0; it goes with bilinear, without resized, margin and halves; got {self}"
            )
        if self.clips == "halves" and self.stride is None:
            raise ValueError(f"clips of halves are counted in stored frames: give a stride; got {self}")

    def __str__(self) -> str:
        later = [f for f in fields(self) if f.metadata.get("later") and getattr(self, f.name) != f.default]
        said = "".join(f", {f.name}={getattr(self, f.name)!r}" for f in later)
        return repr(self).removesuffix(")") + said + ")"

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

    def __post_init__(self) -> None:
        numbers, most = (self.width, self.depth, self.heads, self.hidden), (16384, 512, 1024, 131072)
        if min(numbers) < 1 or any(n > m for n, m in zip(numbers, most, strict=True)):
            raise ConfigError(
                f"width, depth, heads and MLP must be 1 or more, and at most {most}; got {numbers}"
            )
        if self.width % self.heads:
            raise ConfigError(f"a width of {self.width} cannot be shared by {self.heads} attention heads")

    @property
    def name(self) -> str:
        """Its row of the table, or its numbers: `144x5x3x576`."""
        numbers = f"{self.width}x{self.depth}x{self.heads}x{self.hidden}"
        return next((row for row, size in SIZES.items() if size == self), numbers)


def size_of(name: str) -> Size:
    """The size of a name, as `Size.name`; ConfigError for one that is neither a row nor four numbers."""
    named = {str(row): size for row, size in SIZES.items()}
    if name in named:
        return named[name]
    if not re.fullmatch(r"\d{1,9}(x\d{1,9}){3}", name):
        raise ConfigError(
            f"unknown size '{name}'; give {', '.join(SIZES)}, or WIDTHxDEPTHxHEADSxMLP, such as 144x5x3x576"
        )
    return Size(*map(int, name.split("x")))


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

    size: str = "large"
    """`nano`, `micro`, `tiny`, `small`, `base`, `large`, `huge`, `giant`, `gigantic`, or any other as
    WIDTHxDEPTHxHEADSxMLP, such as 144x5x3x576."""
    patch: int = 16
    """Patch height and width in pixels."""
    tubelet: int = 2
    """Frames in a tubelet."""
    position: PositionKind = "vjepa2"
    """How tokens know where they are: rotary with frequencies tiled as V-JEPA 2's weights need, rotary
    interleaved (V-JEPA 2.1), a fixed table of sines added to them (VideoMAE), or the table that stands in a
    file of weights (V-JEPA 1)."""
    trained_side: int | None = None
    """Tokens along a side in pretraining: rows and columns of another picture are stretched over that
    range of rotary positions (V-JEPA 2.1). None goes on counting."""

    def __post_init__(self) -> None:
        size_of(self.size)
        if not (1 <= self.patch <= MOST_PIXELS and 1 <= self.tubelet <= MOST_PIXELS):
            raise ValueError(f"patch and tubelet must be 1 to {MOST_PIXELS}; got {self}")
        if self.trained_side is not None and (self.trained_side < 2 or self.position in ("sincos", "table")):
            raise ValueError(f"trained_side needs rotary positions and at least 2 tokens; got {self}")

    @property
    def dimensions(self) -> Size:
        """Width, depth, heads and MLP."""
        return size_of(self.size)

    def grid(self, spec: InputSpec) -> tuple[int, int, int]:
        """Token lattice (T', H', W') of a clip of `spec`; ValueError where it does not divide, or is of too
        many tokens."""
        if spec.size % self.patch or spec.frames % self.tubelet:
            raise ValueError(
                f"a clip of {spec.frames} frames of {spec.size} px cannot be cut into tubelets of "
                f"{self.tubelet} x {self.patch} x {self.patch}; choose multiples"
            )
        side = spec.size // self.patch
        if spec.frames // self.tubelet * side**2 > MOST_TOKENS:
            raise ValueError(
                f"a clip of {spec} has more than {MOST_TOKENS} tokens; take fewer or smaller frames"
            )
        return spec.frames // self.tubelet, side, side


@dataclass(frozen=True)
class Untold:
    """What no tensor of a file of weights tells, said by a person; what a file tells is not to be said."""

    heads: int | None = None
    """Attention heads of the encoder; by default 64 channels each, as all released ones have."""
    predictor_heads: int | None = None
    """Attention heads of the predictor; by default 32 channels each, as in V-JEPA 2, or the encoder's heads,
    as in V-JEPA 1."""
    positions: Literal["rotary", "table"] | None = None
    """Of a file with a table of positions: whether its class turned queries and keys and left the table aside
    (V-JEPA 2), or added it (V-JEPA 1). By default as `echojepa.weights.meta.added_table` tells."""
    interpolate_rope: bool | None = None
    """V-JEPA 2.1: whether rotary positions of other pictures are stretched over the trained ones; yes by
    default."""


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
    """Share of the picture that one block covers, or that the scattered tokens do; 1 only with `time`, 0 for
    objectives that hide nothing."""
    aspect: tuple[float, float] = (0.75, 1.5)
    """Range of height over width."""
    min_visible: float = 0.1
    """A draw of blocks that leaves a smaller share of tokens visible is redrawn."""
    time: TimeSplit | None = None
    """In place of the whole clip, hide these parts of the picture in a part of it, of which nothing else is
    seen either, and show the other part whole."""

    def __post_init__(self) -> None:
        end = 0 if self.time is None else 1
        extreme = self.blocks == 0 and self.scale == end
        if self.blocks < 0 or not (0 < self.scale < 1 or extreme) or not 0 < self.aspect[0] <= self.aspect[1]:
            raise ValueError(
                "a mask needs blocks >= 0, 0 < scale < 1 (1 for no blocks and a split in time, 0 for no "
                f"blocks and none) and 0 < aspect low <= high; got {self}"
            )


PAPER_MASKS: tuple[MaskConfig, ...] = (MaskConfig(8, 0.15), MaskConfig(2, 0.70))
TUBE_MASK = MaskConfig(blocks=0, scale=0.9)
NO_MASK = MaskConfig(blocks=0, scale=0.0)
"""Everything is seen and nothing inferred: for objectives that learn from labels."""
TIME_MASK = MaskConfig(blocks=0, scale=1.0, time=TimeSplit())
"""Everything in three eighths of the clip is inferred from all that is seen in three others."""
