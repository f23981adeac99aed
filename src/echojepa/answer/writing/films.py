"""The loops of an answer as pages play them: small pictures, each shown for as long as its frame lasted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echojepa.answer.values import LoopFinding, StudyAnswer
from echojepa.data.store.memory import loop_of
from echojepa.files.records import decode_plain, read_plain, read_record, write_record
from echojepa.report.page import small_jpeg

FILMS, POSTERS, ATTENTION = "films", "posters.json", "attention.json"
"""Within the folder of an answer, where films are files of their own."""

SIDE, QUALITY = 232, 72
"""Longer side of the pictures, pixels, and their JPEG quality."""
MOST_FRAMES = 150
"""Frames of a loop that are shown at most, from its first on."""


@dataclass(frozen=True)
class LoopFilm:
    """A loop in pictures; without any where they are withheld."""

    frames: tuple[str, ...]
    """Data URIs."""
    ms: tuple[int, ...]
    """How long each is shown, milliseconds."""

    @property
    def middle(self) -> LoopFilm:
        """The picture that stands for it."""
        at = len(self.frames) // 2
        return LoopFilm(self.frames[at : at + 1], self.ms[at : at + 1])


@dataclass(frozen=True)
class ShownAttention:
    """Which loops have a film with attention laid over it."""

    top: float = 1.0
    """Where its scale ends, times an even share."""
    loops: tuple[int, ...] = ()


def films_of(answer: StudyAnswer) -> dict[int, LoopFilm]:
    """A film of every loop, by its number."""
    return {loop.number: film_of(loop) for loop in answer.loops}


def film_of(loop: LoopFinding) -> LoopFilm:
    """The first frames of a loop."""
    if loop.picture_withheld:
        return LoopFilm((), ())
    pixels = loop_of(loop.row)
    return film_of_frames(pixels.frames(range(min(len(pixels), MOST_FRAMES))), pixels.times)


def film_of_frames(frames: NDArray[np.uint8], times: NDArray[np.float64]) -> LoopFilm:
    """Frames (N, H, W) or (N, H, W, 3), the first of a loop with these times in seconds."""
    steps = np.diff(times)
    steps = np.append(steps, np.median(steps))[: len(frames)]
    return LoopFilm(
        tuple(small_jpeg(frame, SIDE, QUALITY) for frame in frames),
        tuple(max(1, round(1000 * float(step))) for step in steps),
    )


def write_films(films: Mapping[int, LoopFilm], folder: Path) -> None:
    """Write a file for each film, and one of the pictures that stand for them."""
    (folder / FILMS).mkdir()
    for loop, film in films.items():
        write_record(film_file(folder, loop), film)
    write_record(folder / FILMS / POSTERS, {str(loop): film.middle for loop, film in films.items()})


def film_file(folder: Path, loop: int) -> Path:
    """Where the film of a loop is."""
    return folder / FILMS / f"{loop}.json"


def posters_of(folder: Path) -> dict[int, LoopFilm]:
    """The picture that stands for each loop, by its number."""
    plain = read_plain(folder / FILMS / POSTERS)
    return {int(loop): decode_plain(LoopFilm, film) for loop, film in plain.items()}


def read_films(folder: Path) -> dict[int, LoopFilm]:
    """The film of each loop, by its number."""
    return {loop: read_record(LoopFilm, film_file(folder, loop)) for loop in posters_of(folder)}


def write_attention(top: float, films: Mapping[int, LoopFilm], folder: Path) -> None:
    """Write what `attention_films` made beside the films."""
    for loop, film in films.items():
        write_record(attention_file(folder, loop), film)
    write_record(folder / FILMS / ATTENTION, ShownAttention(top, tuple(films)))


def attention_file(folder: Path, loop: int) -> Path:
    """Where the film of a loop with attention is."""
    return folder / FILMS / f"{loop}.{ATTENTION}"


def attention_of(folder: Path) -> ShownAttention:
    """Which loops have one; none of an answer that was written before there were any."""
    record = folder / FILMS / ATTENTION
    return read_record(ShownAttention, record) if record.exists() else ShownAttention()
