"""Frozen features of clips as probes read them: many files on disk, or one tensor, behind one face."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echojepa.models.probe import Standardiser

COLUMN_BYTES = 256 * 2**20
"""Memory that a slice of the flattened grid may take in float32."""


class Tokens:
    """Token grids (n, N, D) in parts, float16 or float32, read from disk only where they are asked for."""

    def __init__(
        self, parts: Sequence[NDArray[Any]], part: NDArray[np.int64], place: NDArray[np.int64]
    ) -> None:
        self.parts, self.part, self.place = parts, part, place
        self.shape = (len(part), *parts[0].shape[1:])

    @classmethod
    def of(cls, tokens: Tensor) -> Tokens:
        """One tensor (n, N, D) in memory."""
        return cls([tokens.numpy()], np.zeros(len(tokens), dtype=np.int64), np.arange(len(tokens)))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, chosen: Tensor) -> Tensor:
        """Tokens (m, N, D) of clips `chosen` (m,), in that order."""
        return self.columns(chosen, 0, self.shape[1])

    def columns(self, chosen: Tensor, start: int, stop: int) -> Tensor:
        """Tokens `start` to `stop` of clips `chosen` (m,) -> (m, stop - start, D)."""
        index = chosen.numpy()
        out = np.empty((len(index), stop - start, self.shape[2]), dtype=self.parts[0].dtype)
        owner = self.part[index]
        for number in np.unique(owner):
            mine = np.flatnonzero(owner == number)
            out[mine] = self.parts[number][self.place[index[mine]], start:stop]
        return torch.from_numpy(out)

    def only(self, chosen: NDArray[np.int64]) -> Tokens:
        """Of these clips alone, without reading them."""
        return Tokens(self.parts, self.part[chosen], self.place[chosen])

    def slices(self, clips: int) -> Iterator[tuple[int, int]]:
        """Ranges of token numbers, so that those of `clips` clips fit in memory."""
        each = max(1, COLUMN_BYTES // (4 * max(1, clips) * self.shape[2]))
        for start in range(0, self.shape[1], each):
            yield start, min(self.shape[1], start + each)


def joined(tokens: Sequence[Tokens]) -> Tokens:
    """Clips of several, one after another."""
    shift = np.cumsum([0, *(len(one.parts) for one in tokens)])
    parts = [part for one in tokens for part in one.parts]
    owner = np.concatenate([one.part + before for one, before in zip(tokens, shift[:-1], strict=True)])
    return Tokens(parts, owner, np.concatenate([one.place for one in tokens]))


@dataclass(frozen=True)
class Features:
    """Token grids of clips and where they come from; every field has an entry a clip."""

    tokens: Tokens
    """(n, N, D)."""
    pooled: Tensor
    """(n, E) float32: the backbone's own vector of a clip, or the mean of its tokens."""
    grid: tuple[int, int, int]
    """(T', H', W')."""
    loops: NDArray[np.int64]
    """(n,) number of the cohort's loop that each clip was cut from."""
    clips: NDArray[np.int64]
    """(n,) which of that loop's clips."""

    def places(self) -> dict[tuple[int, int], int]:
        """Where each (loop, clip) stands."""
        return {pair: n for n, pair in enumerate(zip(self.loops.tolist(), self.clips.tolist(), strict=True))}


def fit_standardiser(tokens: Tokens, chosen: Tensor, batch: int = 64) -> Standardiser:
    """Mean of each position and channel and spread of each channel over clips `chosen`, in one pass.

    The spread is about each position's own mean, as `Standardiser.fit`; sums are taken in float64.
    """
    _, count, width = tokens.shape
    total = torch.zeros(count, width, dtype=torch.float64)
    squares = torch.zeros(count, width, dtype=torch.float64)
    for part in chosen.split(batch):
        values = tokens[part].double()
        total += values.sum(0)
        squares += values.square().sum(0)
    mean = total / len(chosen)
    variance = (squares / len(chosen) - mean.square()).clamp_min(0).mean(0)
    return Standardiser(mean.float(), variance.sqrt().clamp_min(1e-6).float())


def principal_axes(tokens: Tokens, chosen: Tensor, standardiser: Standardiser, width: int) -> Tensor:
    """The (D, width) axes of most variance of standardised tokens of clips `chosen`, by their covariance.

    Fewer than `width` where the tokens are narrower.
    """
    covariance = torch.zeros(tokens.shape[2], tokens.shape[2], dtype=torch.float64)
    for part in chosen.split(64):
        flat = standardiser(tokens[part]).flatten(0, 1)
        covariance += (flat.T @ flat).double()
    _, vectors = torch.linalg.eigh(covariance)
    return vectors.flip(1)[:, :width].float()


def reduced(features: Features, chosen: Tensor, width: int) -> Features:
    """Features cut to the `width` principal components of clips `chosen`, the training ones; in memory."""
    standardiser = fit_standardiser(features.tokens, chosen)
    axes = principal_axes(features.tokens, chosen, standardiser, width)
    return projected(features, standardiser, axes)


def projected(features: Features, standardiser: Standardiser, axes: Tensor) -> Features:
    """Features on given axes."""
    everything = torch.arange(len(features.tokens))
    parts = [(standardiser(features.tokens[part]) @ axes).half() for part in everything.split(64)]
    return Features(
        Tokens.of(torch.cat(parts)), features.pooled, features.grid, features.loops, features.clips
    )
