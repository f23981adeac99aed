"""The arithmetic of a training step, from shapes alone: what "matched compute" is measured in.

A product of (m, k) and (k, n) is 2 m k n floating-point operations. Norms, activations and rotations are
not counted, as is the custom (arXiv 2001.08361, section 2.1). The backward pass of a product is two products,
one for each factor; pixels have no gradient, so embedding them costs one. Equal to torch's own counter.
"""

from __future__ import annotations


def product(rows: int, inner: int, columns: int) -> int:
    """Operations of a matrix product."""
    return 2 * rows * inner * columns


def block_flops(tokens: int, width: int, hidden: int) -> int:
    """A transformer block's forward pass over a clip's tokens: projections, attention, and MLP."""
    linear = product(tokens, width, 4 * width) + 2 * product(tokens, width, hidden)
    return linear + 2 * product(tokens, width, tokens)
