"""Seeds by name: every random draw belongs to (seed, purpose, numbers), never to a global state.

The same item so gets the same draw whatever the worker, the rank, or what was drawn before it.
"""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, purpose: str, *numbers: int) -> int:
    """A 63-bit seed that is a function of its arguments alone, the same on every machine."""
    text = ":".join([str(seed), purpose, *map(str, numbers)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
