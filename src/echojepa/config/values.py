"""Values that settings consist of and that build models: a model's input, its size, its masks."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from typing import Literal

from echojepa.errors import ConfigError
from echojepa.files.records import LATER

Interpolation = Literal["bilinear", "linear", "bicubic", "area"]
PositionKind = Literal["vjepa2", "interleaved", "sincos", "table"]
MOST_TOKENS = 2**18
"""Maximum number of tokens of a clip: 64 frames of 1,440 px in tubelets of 2 x 16 x 16."""
MOST_PIXELS = 8192
"""Maximum number of pixels of a side, and of frames of a clip."""
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
    """Instead of `seconds`: take every n-th stored frame, whatever the frame rate."""
    resized: int | None = None
    """Side to resize images to before the centre of `size` is cut out; None means `size`."""
    interpolation: Interpolation = "bilinear"
    """How images are resized: bilinear is antialiased, linear and bicubic are not, area takes the mean of the
    area under a new pixel. The last three equal OpenCV's, area also when an image is enlarged."""
    value_max: float = 1.0
    """Value of the brightest pixel (255) before the mean is subtracted."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Channel means to subtract."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Channel standard deviations to divide by."""
    margin: float = field(default=0.0, repr=False, metadata=LATER)
    """Share of the image to cut off at each edge first, in whole pixels, rounded down (as EchoPrime does)."""
    clips: Literal["even", "halves"] = field(default="even", repr=False, metadata=LATER)
    """Where a loop's clips begin, and how a loop shorter than a clip is extended. `even`: evenly spaced; a
    short loop plays forwards and backwards. `halves`: at the start of each half (third, ..., by the number of
    clips); the last frame is repeated, and images that are not square lose their margins. The released
    probes were trained on `halves`."""
    mm: float | None = field(default=None, repr=False, metadata=LATER)
    """Millimetres a pixel: show images at this scale, aligned at the top and centred on their middle column.
    EchoJEPAv2's 0.36 mm and 24 frames a second are mm=0.36, seconds=frames/24. None shows the whole image,
    whatever its scale."""

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
                f"InputSpec allows at most {MOST_PIXELS} pixels a side, as many frames, and a margin from "
                f"0 to below 0.5; got {self}"
            )
        whole = not self.margin and self.resized is None and self.clips == "even"
        if self.mm is not None and not (self.mm > 0 and whole and self.interpolation == "bilinear"):
            raise ValueError(
                f"mm must be above 0, and needs bilinear without resized, margin or halves; got {self}"
            )
        if self.clips == "halves" and self.stride is None:
            raise ValueError(f"clips `halves` count stored frames; give a stride; got {self}")

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
            raise ConfigError(
                f"width must be a multiple of the attention heads; got {self.width} and {self.heads}"
            )

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
    """The facts, beside the tensors, that are needed to rebuild an encoder."""

    size: str = "large"
    """`nano`, `micro`, `tiny`, `small`, `base`, `large`, `huge`, `giant`, `gigantic`, or any other as
    WIDTHxDEPTHxHEADSxMLP, such as 144x5x3x576."""
    patch: int = 16
    """Patch height and width in pixels."""
    tubelet: int = 2
    """Frames in a tubelet."""
    position: PositionKind = "vjepa2"
    """Position encoding: `vjepa2` (rotary with tiled frequencies, as V-JEPA 2's weights need), `interleaved`
    (rotary, V-JEPA 2.1), `sincos` (a fixed table of sines, VideoMAE), or `table` (the table in a weights
    file, V-JEPA 1)."""
    trained_side: int | None = None
    """Tokens along a side in pretraining. Rotary positions of other image sizes are stretched to that range
    (V-JEPA 2.1). None does not stretch them."""

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
        """Token lattice (T', H', W') of a clip of `spec`; ValueError if it does not divide, or has too many
        tokens."""
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
    """Facts that a weights file does not show. A person states them; do not state what the file shows."""

    heads: int | None = None
    """Attention heads of the encoder; by default one for each 64 channels, as in all released encoders."""
    predictor_heads: int | None = None
    """Attention heads of the predictor; by default one for each 32 channels (V-JEPA 2), or as many as the
    encoder has (V-JEPA 1)."""
    positions: Literal["rotary", "table"] | None = None
    """For a file with a position table: `rotary` if its model ignored the table (V-JEPA 2), `table` if it
    added the table (V-JEPA 1). By default `echojepa.weights.meta.added_table` decides."""
    interpolate_rope: bool | None = None
    """V-JEPA 2.1: stretch rotary positions of other image sizes over the trained ones; yes by default."""


@dataclass(frozen=True)
class TimeSplit:
    """Context and targets are separated in time: the later part is predicted from the earlier or, at random
    for each clip, the reverse. Shares are of the clip's time slots, rounded to whole slots."""

    seen: float = 0.375
    """Share of the slots, at one end of the clip, that is visible."""
    gap: float = 0.125
    """Share after that, neither visible nor predicted, which keeps targets away from visible slots."""
    hidden: float = 0.375
    """Share after the gap that is predicted."""

    def __post_init__(self) -> None:
        if min(self.seen, self.hidden) <= 0 or self.gap < 0 or self.seen + self.gap + self.hidden > 1:
            raise ValueError(
                f"a split in time needs seen > 0, gap >= 0 and hidden > 0 that sum to at most 1; got {self}"
            )

    def slots(self, times: int) -> tuple[int, int, int]:
        """Number of visible slots, first hidden slot, number of hidden slots; ValueError for a short clip."""
        seen, hidden = round(self.seen * times), round(self.hidden * times)
        first = seen + round(self.gap * times)
        if min(seen, hidden) < 1 or first + hidden > times:
            raise ValueError(f"{self} does not fit a clip of {times} time slots; give more frames")
        return seen, first, hidden


@dataclass(frozen=True)
class MaskConfig:
    """One mask type: it hides the union of equally sized blocks, or scattered single tokens."""

    blocks: int
    """Number of blocks in a clip; 0 hides scattered tokens instead (VideoMAE's tube mask)."""
    scale: float
    """Share of the image that one block, or all scattered tokens, cover; 1 only with `time`, 0 for objectives
    that hide nothing."""
    aspect: tuple[float, float] = (0.75, 1.5)
    """Range of height over width."""
    min_visible: float = 0.1
    """Minimum share of visible tokens; other draws of blocks are redrawn."""
    time: TimeSplit | None = None
    """Split the clip in time: one part is visible whole; in the other, nothing is visible and these areas are
    predicted."""

    def __post_init__(self) -> None:
        end = 0 if self.time is None else 1
        extreme = self.blocks == 0 and self.scale == end
        if self.blocks < 0 or not (0 < self.scale < 1 or extreme) or not 0 < self.aspect[0] <= self.aspect[1]:
            raise ValueError(
                "a mask needs blocks >= 0, 0 < scale < 1 (without blocks also 1 with a split in time, or "
                f"0 without one) and 0 < aspect low <= high; got {self}"
            )


PAPER_MASKS: tuple[MaskConfig, ...] = (MaskConfig(8, 0.15), MaskConfig(2, 0.70))
TUBE_MASK = MaskConfig(blocks=0, scale=0.9)
NO_MASK = MaskConfig(blocks=0, scale=0.0)
"""Everything is visible and nothing is predicted: for objectives that learn from labels."""
TIME_MASK = MaskConfig(blocks=0, scale=1.0, time=TimeSplit())
"""All tokens in three eighths of the clip are predicted from all tokens in three other eighths."""
