"""Any file of an archive, told by its content: DICOM, or a video in an MP4 or AVI container."""

from __future__ import annotations

import hashlib
import mmap
from dataclasses import fields
from pathlib import Path

import numpy as np

from echojepa.data.cine import CineLoop, LoopFacts, Recording
from echojepa.data.deidentify import discreetly, pseudonym
from echojepa.data.dicom.reader import open_dicom
from echojepa.data.rejection import Rejected
from echojepa.data.video import open_video
from echojepa.vocabulary import Kind, Reason

MAX_FILE = 4 << 30
"""Bytes above which a file is not read."""


def open_recording(path: Path, key: bytes) -> Recording:
    """The facts of a file, with pseudonymous ids, and its frames still encoded.

    Raises Rejected for anything that cannot become a loop. Call it, and read the frames, within
    `discreetly()`.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size > MAX_FILE:
                raise Rejected(
                    Reason.TOO_LARGE, f"a file of {size / 2**30:.1f} GiB; at most {MAX_FILE >> 30}"
                )
            if size == 0:
                raise Rejected(Reason.NOT_DICOM, "an empty file")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                if content[4:8] == b"ftyp" or (content[:4] == b"RIFF" and content[8:11] == b"AVI"):
                    return open_plain_video(bytes(content), path, key)
                return open_dicom(content, key)  # pyright: ignore[reportArgumentType]
    except OSError as error:
        raise Rejected(Reason.UNREADABLE, f"the system says: {error.strerror}") from None


def open_plain_video(content: bytes, path: Path, key: bytes) -> Recording:
    """A video without any facts: all videos of one folder are taken to be one patient's one study.

    Two patients taken for one cost statistical power; one taken for two would leak between splits.
    """
    video = open_video(content)
    folder = str(path.resolve().parent)
    return Recording(
        pixels=video,
        times=video.times,
        time_source="container",
        kind=Kind.CINE if video.count > 1 else Kind.STILL,
        patient_id=pseudonym(key, "patient", f"folder {folder}"),
        study_id=pseudonym(key, "study", f"folder {folder}"),
        loop_id=pseudonym(key, "loop", hashlib.sha256(content).hexdigest()),
    )


def read_cine(path: Path, key: bytes) -> CineLoop:
    """Read a whole file at once, (T, H, W) grey or (T, H, W, 3) RGB; Rejected as `open_recording`."""
    with discreetly():
        recording = open_recording(path, key)
        frames = np.stack(list(recording.pixels.read(range(recording.pixels.count))))
    facts = {field.name: getattr(recording, field.name) for field in fields(LoopFacts)}
    return CineLoop(frames=frames, **facts)
