"""What a person opens: a film as MP4 and GIF, a strip of stills as PNG, arrays; a folder a loop, whole or not
at all."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from echojepa.explain.films import Frames, LoopMap, words_font
from echojepa.explain.loops import ShownLoop
from echojepa.files.durable import replace_folder

STILLS = 6
"""Frames of a strip, evenly spaced in time."""
MILLISECONDS = Fraction(1, 1000)
CODEC = "libvpx-vp9"
"""Free to use (BSD), unlike the H.264 and H.265 encoders that come in the same library; browsers play it."""
QUALITY = {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "8", "row-mt": "0"}


@dataclass(frozen=True)
class Seen:
    """What a command made for a person to look at."""

    page: str
    """The numbers, in Markdown."""
    folders: tuple[Path, ...]
    """Of loops that are shown."""
    left_out: tuple[str, ...]
    """Why files are not among the loops."""


def durations(times: NDArray[np.float64]) -> NDArray[np.int64]:
    """How long each frame (T,) is shown, ms; the last one as long as the median, 100 where it is alone."""
    marks = np.rint(1000 * times).astype(np.int64)
    gaps = np.diff(marks)
    return np.append(gaps, int(np.median(gaps)) if len(gaps) else 100)


def write_mp4(path: Path, frames: Frames, times: NDArray[np.float64]) -> None:
    """Frames (T, H, W, 3) of even sides at their times, s: VP9 in MP4, each frame at its own time."""
    lasting = durations(times)
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        rate = Fraction(1000, int(np.median(lasting)))
        stream: Any = container.add_stream(CODEC, rate=rate, options=QUALITY)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.time_base = "yuv420p", MILLISECONDS
        stream.codec_context.time_base, stream.codec_context.thread_count = MILLISECONDS, 1
        for picture, begin in zip(frames, np.cumsum(lasting) - lasting, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = int(begin), MILLISECONDS
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_gif(path: Path, frames: Frames, times: NDArray[np.float64]) -> None:
    """Frames at their times, to the 10 ms that the format can tell, in one palette; played again and
    again."""
    marks = np.rint(np.append(0, np.cumsum(durations(times))) / 10)
    common = Image.fromarray(np.concatenate([frames[number] for number in stills(times)])).quantize(256)
    plain = Image.Dither.NONE  # dithered noise would move from frame to frame, and triple the file
    pictures = [Image.fromarray(picture).quantize(palette=common, dither=plain) for picture in frames]
    lasting = [int(10 * max(2, gap)) for gap in np.diff(marks)]
    pictures[0].save(path, "GIF", save_all=True, append_images=pictures[1:], duration=lasting, loop=0)


def stills(times: NDArray[np.float64]) -> list[int]:
    """Frames of a strip."""
    wanted = np.linspace(0, times[-1], min(STILLS, len(times)))
    return [int(np.abs(times - moment).argmin()) for moment in wanted]


def write_strip(path: Path, frames: Frames, times: NDArray[np.float64]) -> None:
    """Stills of a film one below the other, each with its time."""
    chosen = stills(times)
    page = Image.fromarray(np.concatenate([frames[number] for number in chosen]))
    pen = ImageDraw.Draw(page)
    for place, number in enumerate(chosen):
        corner = (page.width - 64, place * frames.shape[1] + 2)
        pen.text(corner, f"{times[number]:.2f} s", fill=(240, 240, 240), font=words_font())
    page.save(path, "PNG")


def write_arrays(path: Path, loop: ShownLoop, maps: Sequence[LoopMap]) -> None:
    """Frames, times and sector of a loop, and each map: `map_N` (clips, T', H', W') beside `names`, the
    stored frames of each of its clips, and what holds at each stored frame."""
    arrays: dict[str, NDArray[Any]] = {"frames": loop.frames, "times": loop.times, "sector": loop.sector}
    arrays["names"] = np.array([f"{one.backbone} | {one.source}" for one in maps])
    for number, one in enumerate(maps):
        clips = [loop.indices(one.spec, start) for start in one.starts]
        arrays[f"map_{number}"], arrays[f"clips_{number}"] = one.maps, np.stack(clips)
        arrays[f"at_frames_{number}"] = one.of_frames(loop)
    save: Any = np.savez_compressed  # its own setting has a name that no array here has
    save(path, **arrays)


def write_loop(folder: Path, loop: ShownLoop, maps: Sequence[LoopMap], frames: Frames) -> None:
    """`film.mp4`, `film.gif`, `strip.png` and `maps.npz` of a loop in a folder of its own, in place of one
    that is there."""
    partial = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write_mp4(partial / "film.mp4", frames, loop.times)
    write_gif(partial / "film.gif", frames, loop.times)
    write_strip(partial / "strip.png", frames, loop.times)
    write_arrays(partial / "maps.npz", loop, maps)
    replace_folder(partial, folder)
