"""Any file of an archive, told by its content: DICOM, a video in an MP4 or AVI container, or pictures stacked
in time in a NIfTI or MetaImage file."""

from __future__ import annotations

import hashlib
import mmap
import stat
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echojepa.data.identity.deidentify import coarse_age, discreetly, pseudonym
from echojepa.data.importers.listing import NOTHING, Stated
from echojepa.data.reading.cine import CineLoop, LoopFacts, Recording, Region
from echojepa.data.reading.containers import is_video
from echojepa.data.reading.dicom.reader import open_dicom
from echojepa.data.reading.rejection import Rejected
from echojepa.data.reading.times import pause_warning
from echojepa.data.reading.video import Video
from echojepa.data.reading.volumes import HEADER, is_volume, open_volume
from echojepa.vocabulary import Kind, Reason

MAX_FILE = 4 << 30
"""Bytes above which a file is not read."""
OTHERS = {
    stat.S_ISDIR: "a folder that cannot be listed", stat.S_ISFIFO: "a named pipe", stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device", stat.S_ISBLK: "a device",
}  # fmt: skip
"""What stands in archives that is no file."""
RATES_AGREE = 0.1
"""A container's frame rate that differs from the stated one by more than this share is noted."""


def open_recording(path: Path, key: bytes, stated: Stated = NOTHING) -> Recording:
    """The facts of a file, with pseudonymous ids, and its frames still encoded.

    What the data set's own tables have `stated` of it wins over the file. Raises Rejected for anything that
    cannot become a loop. Call it, and read the frames, within `discreetly()`.
    """
    try:
        check_regular(path)
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size > MAX_FILE:
                raise Rejected(
                    Reason.TOO_LARGE,
                    f"a file of {size / 2**30:.1f} GiB; at most {MAX_FILE >> 30} GiB are allowed",
                )
            if size == 0:
                raise Rejected(Reason.NOT_DICOM, "an empty file")
            # Pixels look into it; it is closed when nothing does any more.
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if is_video(content[:600]):
            recording = open_plain_video(bytes(content), path, key, stated)
        elif is_volume(content[:HEADER]):
            recording = open_plain_volume(bytes(content), path, key, stated)
        else:
            recording = open_dicom(content, key)
        return restate(recording, stated, key)
    except OSError as error:
        raise Rejected(Reason.UNREADABLE, f"the system says: {error.strerror}") from None


def check_regular(path: Path) -> None:
    """Rejected(UNREADABLE) for what is no file: opening a named pipe would wait for ever. OSError where the
    system does not say."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        name = next((name for test, name in OTHERS.items() if test(mode)), "something else")
        raise Rejected(Reason.UNREADABLE, f"it is not a file but {name}")


def restate(recording: Recording, stated: Stated, key: bytes) -> Recording:
    """The recording with what is stated in place of what its file says."""
    age = None if stated.age is None else coarse_age(stated.age)
    facts: dict[str, Any] = {"view": stated.view, "sex": stated.sex, "age": age}
    known = {name: fact for name, fact in facts.items() if fact is not None}
    ids = {"patient": stated.patient, "study": stated.study}
    known |= {f"{kind}_id": pseudonym(key, kind, name) for kind, name in ids.items() if name is not None}
    return replace(recording, **{"also": recording.also if stated.patient is None else (), **known})


def open_plain_video(content: bytes, path: Path, key: bytes, stated: Stated) -> Recording:
    """A video without facts of its own but its times, where the tables have stated none."""
    video = Video(content)
    times, source, warning = video_times(video, stated)
    return Recording(
        pixels=video,
        times=times,
        time_source=source,
        time_warning=warning,
        kind=Kind.CINE if video.count > 1 else Kind.STILL,
        **ids_by_folder(content, path, key),
    )


def open_plain_volume(content: bytes, path: Path, key: bytes, stated: Stated) -> Recording:
    """Pictures stacked in time, calibrated; Rejected(NO_TIME) for a cine without a stated frame rate."""
    volume, everything = open_volume(content, path)
    if volume.count > 1 and stated.frame_rate is None:
        raise Rejected(Reason.NO_TIME, "a stack of images has no times, and no table states its rate")
    region = Region(0, 0, volume.width - 1, volume.height - 1, mm_per_pixel=volume.mm_per_pixel)
    return Recording(
        pixels=volume,
        times=np.arange(volume.count) / (stated.frame_rate or 1.0),
        time_source=stated.rate_source,
        kind=Kind.CINE if volume.count > 1 else Kind.STILL,
        regions=(region,),
        **ids_by_folder(everything, path, key),
    )


def ids_by_folder(content: bytes, path: Path, key: bytes) -> dict[str, Any]:
    """Ids of a file that names nobody: all files of one folder are taken to be one patient's one study.

    Two patients taken for one cost statistical power; one taken for two would leak between splits.
    """
    folder = str(path.resolve().parent)
    return {
        "patient_id": pseudonym(key, "patient", f"folder {folder}"),
        "study_id": pseudonym(key, "study", f"folder {folder}"),
        "loop_id": pseudonym(key, "loop", hashlib.sha256(content).hexdigest()),
    }


def video_times(video: Video, stated: Stated) -> tuple[NDArray[np.float64], str, str]:
    """Seconds since the first frame (T,), where they come from, and a warning where table and container
    differ; Rejected(NO_TIME) where neither says."""
    rate = stated.frame_rate
    if rate is None:
        return video.times, "container", pause_warning(np.diff(video.times))
    times, warning = np.arange(video.count) / rate, ""
    try:
        contained = 1 / float(np.median(np.diff(video.times))) if video.count > 1 else rate
    except Rejected:
        contained = rate
    if abs(contained - rate) > RATES_AGREE * rate:
        warning = f"the table states {rate:.4g} frames a second, the container {contained:.4g}"
    return times, stated.rate_source, warning


def read_cine(path: Path, key: bytes) -> CineLoop:
    """Read a whole file at once, (T, H, W) grey or (T, H, W, 3) RGB; Rejected as `open_recording`."""
    with discreetly():
        recording = open_recording(path, key)
        frames = np.stack(list(recording.pixels.read(range(recording.pixels.count))))
    facts = {field.name: getattr(recording, field.name) for field in fields(LoopFacts)}
    return CineLoop(frames=frames, **facts)
