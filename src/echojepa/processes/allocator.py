"""glibc's allocator, told what to do with freed memory: keep it for the next step, or give it back.

It gives blocks above a threshold back to the system at once, and the system hands out cleared pages at the
next request; clearing and mapping them is a part of a training step that computes nothing. Below the
threshold, which it raises by itself to 32 MB, freed blocks stay where they lie between others: who reads
thousands of loops one after another holds some 80 kB more with each. jemalloc or tcmalloc would do better at
both, but must be preloaded before Python starts; this needs nothing installed.
"""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of glibc's mallopt(3)."""
LARGEST_THRESHOLD = 32 * 2**20
"""What glibc takes at most on 64 bits."""


def keep_pages() -> bool:
    """Tell glibc to keep freed memory for the next step; False where the C library is another.

    Memory that a step needs stays with the process until it ends, so peak memory is what it would be.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_THRESHOLD) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))


def give_back_pages() -> bool:
    """Give all freed memory back to the system, which takes some 10 ms; False where the C library is another.

    A fixed low threshold would do so always, at half as much time again for the reading of loops.
    """
    return platform.libc_ver()[0] == "glibc" and bool(ctypes.CDLL(None).malloc_trim(0))
