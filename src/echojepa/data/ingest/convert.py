"""One file to one row: read it, find the sector, keep what is inside, frame by frame.

No more than the looked-at frames are in memory at once, whatever the length of the loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from echojepa.data.importers.listing import NOTHING, Stated
from echojepa.data.reading.boundary import one_file
from echojepa.data.reading.cine import LoopFacts, Recording, RegionKind
from echojepa.data.reading.frames import Frames, is_coloured, luma
from echojepa.data.reading.recording import open_recording
from echojepa.data.reading.rejection import Rejected
from echojepa.data.sector.burned_text import TextBox, find_text
from echojepa.data.sector.scale import mm_per_pixel
from echojepa.data.sector.sector import Sector, find_sector, probe_indices
from echojepa.data.store.encoding import Encoding, to_png
from echojepa.data.store.rows import StoredLoop, black_outside, encode_loop
from echojepa.processes.workers import allow_seconds
from echojepa.vocabulary import Kind, Reason

STRIPS: dict[Kind, tuple[RegionKind, ...]] = {Kind.DOPPLER: ("pw", "cw"), Kind.MMODE: ("mmode",)}
"""Kinds of file that scroll instead of moving, and the regions that are kept of them."""
SECONDS, SECONDS_A_MEGAPIXEL = 20.0, 2.0
"""CPU seconds that a file may use once its header is read: some, and more for each million pixels."""


@dataclass(frozen=True)
class Job:
    """One file and what is needed to convert it; the same for all processes."""

    path: Path
    file_id: str
    key: bytes
    site: str
    max_side: int
    cleared: bool
    """Whether a person has looked at it and found its still text free of names."""
    stated: Stated = NOTHING
    """What the data set's own tables say of it."""
    lossless: bool = False
    """Whether frames are stored lossless; those that a publisher has cut already always are."""


@dataclass(frozen=True)
class Refused:
    """A file that does not come in."""

    file_id: str
    why: Rejected
    picture: bytes = b""
    """PNG for a person to look at, where the file is held for that; it may show a name."""
    ids: tuple[str, ...] = ()
    """Pseudonyms of its patient and study, and others that are of the same person."""


@dataclass(frozen=True, kw_only=True)
class ConvertedLoop(StoredLoop):
    """A row on its way into the table."""

    also: tuple[str, ...] = ()
    """Other pseudonyms that are of the same person."""


COLUMNS = {column.name for column in fields(ConvertedLoop)} - {"times"}
AS_THEY_ARE = [fact.name for fact in fields(LoopFacts) if fact.name in COLUMNS]
"""What a row takes over from the file's facts."""


def convert(job: Job) -> ConvertedLoop | Refused:
    """A row whose patient's ordinal, and split but for an official one, are still open; or the reason why
    there is none."""
    ids: tuple[str, ...] = ()
    try:
        with one_file():
            recording = open_recording(job.path, job.key, job.stated)
            ids = (recording.patient_id, recording.study_id, *recording.also)
            allow_seconds(seconds_for(recording.pixels))
            looked = looked_at(recording.pixels)
            sector = whole(looked) if job.stated.cropped else sector_of(recording, looked)
            text = () if job.cleared or job.stated.cropped else find_text(looked, sector)
            if text:
                why = Rejected(Reason.HELD_TEXT, f"{len(text)} places; check its image beside the key")
                return Refused(job.file_id, why, review_picture(looked, text), ids)
            return keep(recording, looked, sector, job)
    except Rejected as rejected:
        return Refused(job.file_id, rejected, ids=ids)


def seconds_for(pixels: Frames) -> float:
    """CPU seconds that a loop may need, by its pixels: some fifty times what the slowest codec took, so
    that what comes in does not depend on how fast a machine is."""
    return SECONDS + SECONDS_A_MEGAPIXEL * pixels.count * pixels.height * pixels.width / 1e6


@dataclass(frozen=True)
class KeyAtHand:
    """`convert` for jobs that were sent without their key: it is read where the file is converted."""

    key: Path

    def __call__(self, job: Job) -> ConvertedLoop | Refused:
        """As `convert`."""
        return convert(replace(job, key=self.key.read_bytes().strip()))


def looked_at(pixels: Frames) -> NDArray[np.uint8]:
    """The frames (n, H, W) or (n, H, W, 3) that a loop is judged by."""
    return np.stack(list(pixels.read(probe_indices(pixels.count))))


def review_picture(looked: NDArray[np.uint8], text: Sequence[TextBox]) -> bytes:
    """PNG of a loop's middle frame with a frame around each place where text was found."""
    picture = Image.fromarray(looked[len(looked) // 2]).convert("RGB")
    pen = ImageDraw.Draw(picture)
    for box in text:
        pen.rectangle((box.left - 3, box.top - 3, box.right + 2, box.bottom + 2), outline=(255, 60, 60))
    return to_png(np.asarray(picture))


def all_frames(pixels: Frames, looked: NDArray[np.uint8], colour: bool) -> Iterator[NDArray[np.uint8]]:
    """Every frame in order, (H, W, 3) or (H, W); those in `looked` are not decoded again where they need not
    be. Where grey is a stored Y it is read for all, so that no frame differs from its neighbours by rounding.
    """
    known = (
        {}
        if pixels.stored_luma and not colour
        else dict(zip(probe_indices(pixels.count), looked, strict=True))
    )
    others = pixels.read([i for i in range(pixels.count) if i not in known], grey=not colour)
    for index in range(pixels.count):
        frame = known[index] if index in known else next(others)
        yield luma(frame) if frame.ndim == 3 and not colour else frame


def sector_of(recording: Recording, looked: NDArray[np.uint8]) -> Sector:
    """Where the ultrasound is: found from the pixels, or from the tags where nothing tells it from text.

    That is in strips, and in stills that show no fan; Rejected(NO_SECTOR) for a still without a region.
    """
    if recording.kind in STRIPS:
        return marked(recording, STRIPS[recording.kind], looked.shape[1:3])
    try:
        return find_sector(looked, recording.regions)
    except Rejected:
        if recording.kind != Kind.STILL:
            raise
    return marked(recording, ("tissue", "colour"), looked.shape[1:3])


def whole(looked: NDArray[np.uint8]) -> Sector:
    """All of the picture, where its publisher has cut it already: its pixels stay bit for bit."""
    return Sector(np.ones(looked.shape[1:3], dtype=bool))


def marked(recording: Recording, kinds: Sequence[RegionKind], shape: tuple[int, ...]) -> Sector:
    """The regions of some kinds, by the tags."""
    mask = np.zeros(shape, dtype=bool)
    for region in recording.regions:
        if region.kind in kinds:
            mask[region.y0 : region.y1 + 1, region.x0 : region.x1 + 1] = True
    if not mask.any():
        raise Rejected(
            Reason.NO_SECTOR, "a single frame without a visible fan or a tissue region in its tags"
        )
    return Sector(mask)


def keep(recording: Recording, looked: NDArray[np.uint8], sector: Sector, job: Job) -> ConvertedLoop:
    """Crop, reduce and encode every frame; colour is kept only where there is some."""
    rows, columns = sector.box
    mask = sector.mask[rows, columns]
    colour = any(is_coloured(frame[rows, columns], mask) for frame in looked)
    down, across = square_shares(recording.pixel_aspect)
    factor = min(1.0, job.max_side / max(mask.shape[0] * down, mask.shape[1] * across))
    down, across = factor * down, factor * across
    reduced_mask = shrink(mask.astype(np.uint8) * 255, down, across) > 127
    # Before, so that nothing outside bleeds in; after, so that nothing inside bleeds out.
    reduced = (
        black_outside(shrink(black_outside(frame[rows, columns], mask), down, across), reduced_mask)
        for frame in all_frames(recording.pixels, looked, colour)
    )
    lossless = job.lossless or job.stated.cropped
    pixels = encode_loop(reduced, reduced_mask, Encoding.PNG if lossless else Encoding.JPEG)
    facts = {name: getattr(recording, name) for name in AS_THEY_ARE}
    times = recording.times
    size = mm_per_pixel(recording.regions, sector.mask) or recording.mm_per_pixel
    height, width = (side / factor for side in size) if size else (None, None)
    return ConvertedLoop(
        **vars(pixels),
        **facts,
        file_id=job.file_id,
        patient_ordinal=-1,
        split=job.stated.split or "",
        site=job.site,
        times=times.tolist(),
        frame_rate=1 / float(np.median(np.diff(times))) if len(times) > 1 else None,
        pixel_height_mm=height,
        pixel_width_mm=width,
    )


def square_shares(aspect: float) -> tuple[float, float]:
    """Shares of rows and columns to keep to make pixels of this height by width square. The finer direction
    is reduced, as in a volume, which keeps the heart's shape."""
    return min(1.0, aspect), min(1.0, 1 / aspect)


def shrink(frame: NDArray[np.uint8], factor: float, across: float | None = None) -> NDArray[np.uint8]:
    """Reduce the rows of a frame (H, W) or (H, W, 3) by a factor up to 1 and its columns by the same or
    another; a new pixel is the mean of what it covers."""
    factors = factor, factor if across is None else across
    if factors == (1.0, 1.0):
        return np.ascontiguousarray(frame)
    height, width = (max(1, round(n * f)) for n, f in zip(frame.shape[:2], factors, strict=True))
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BOX))


def lost(job: Job, over_time: bool) -> Refused:
    """The row of a file that ended its worker."""
    if over_time:
        return Refused(job.file_id, Rejected(Reason.LIMITS, "it needs more CPU time than a file may"))
    return Refused(job.file_id, Rejected(Reason.CRASHED, "the process that decoded it ended"))
