"""The arithmetic of a training step, from shapes alone: what "matched compute" is measured in.

A product of (m, k) and (k, n) is 2 m k n floating-point operations. Norms, activations and rotations are
not counted, as is the custom (arXiv 2001.08361, section 2.1). The backward pass of a product is two products,
one for each factor; pixels have no gradient, so embedding them costs one. Equal to torch's own counter.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Flops:
    """Operations of a step, by part; `backward` belongs to encoder and predictor together."""

    encoder: int = 0
    """Forward pass over the visible tokens."""
    predictor: int = 0
    """Forward pass of the predictor, of VideoMAE's decoder, or of heads and the text encoder."""
    target: int = 0
    """Forward pass of the target encoder over all tokens."""
    backward: int = 0
    """Backward pass through predictor and encoder."""

    @property
    def total(self) -> int:
        """All of a step."""
        return self.encoder + self.predictor + self.target + self.backward

    def __add__(self, other: Flops) -> Flops:
        return Flops(
            self.encoder + other.encoder,
            self.predictor + other.predictor,
            self.target + other.target,
            self.backward + other.backward,
        )

    def times(self, clips: int) -> Flops:
        """That of so many clips."""
        return Flops(self.encoder * clips, self.predictor * clips, self.target * clips, self.backward * clips)


def product(rows: int, inner: int, columns: int) -> int:
    """Operations of a matrix product."""
    return 2 * rows * inner * columns


def block_flops(tokens: int, width: int, hidden: int) -> int:
    """A transformer block's forward pass over a clip's tokens: projections, attention, and MLP."""
    linear = product(tokens, width, 4 * width) + 2 * product(tokens, width, hidden)
    return linear + 2 * product(tokens, width, tokens)
