"""Frozen features of clips: token grids, in many files or in one tensor, and how they are standardised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echojepa.evaluation.protocol.samples import Address
from echojepa.models.clip_head import moments
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

    def slices(self, clips: int) -> Iterator[tuple[int, int]]:
        """Ranges of token numbers, so that those of `clips` clips fit in memory."""
        each = max(1, COLUMN_BYTES // (4 * max(1, clips) * self.shape[2]))
        for start in range(0, self.shape[1], each):
            yield start, min(self.shape[1], start + each)


@dataclass(frozen=True)
class Features:
    """Token grids of clips and where they come from; every field has an entry a clip."""

    tokens: Tokens
    """(n, N, D)."""
    pooled: Tensor
    """(n, E) float32: the backbone's own vector of a clip, or the mean of its tokens."""
    grid: tuple[int, int, int]
    """(T', H', W')."""
    clips: NDArray[np.int64]
    """(n, 3) address of each clip."""

    def places(self) -> dict[Address, int]:
        """Where each clip stands."""
        return {(store, row, n): place for place, (store, row, n) in enumerate(self.clips.tolist())}


def joined(parts: Sequence[Features]) -> Features:
    """Clips of several data sets, one after another."""
    tokens = [part.tokens for part in parts]
    shift = np.cumsum([0, *(len(one.parts) for one in tokens)])
    owner = np.concatenate([one.part + before for one, before in zip(tokens, shift[:-1], strict=True)])
    whole = Tokens(
        [part for one in tokens for part in one.parts], owner, np.concatenate([one.place for one in tokens])
    )
    pooled, clips = torch.cat([part.pooled for part in parts]), np.concatenate([part.clips for part in parts])
    return Features(whole, pooled, parts[0].grid, clips)


def fit_standardiser(tokens: Tokens, chosen: Tensor, batch: int = 64) -> Standardiser:
    """Mean of each position and channel and spread of each channel over clips `chosen`, in one pass.

    The spread is about each position's own mean; sums are taken in float64.
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


def projected(features: Features, standardiser: Standardiser, axes: Tensor) -> Features:
    """Features on given axes, in memory."""
    everything = torch.arange(len(features.tokens))
    parts = [(standardiser(features.tokens[part]) @ axes).half() for part in everything.split(64)]
    return replace(features, tokens=Tokens.of(torch.cat(parts)))


def over_time(features: Features) -> Features:
    """Each place's mean and population standard deviation over time, in memory: a grid (2, H', W').

    They do not depend on where in the beat a clip begins, as the tokens themselves do.
    """
    grid = (2, *features.grid[1:])
    everything = torch.arange(len(features.tokens))
    parts = [moments(features.tokens[part].float(), features.grid) for part in everything.split(64)]
    return replace(features, tokens=Tokens.of(torch.cat(parts)), grid=grid)
