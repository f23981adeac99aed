"""An allocator that keeps its pages: on a CPU a step asks for the same memory again and again.

glibc gives blocks above a threshold back to the system at once, and the system hands out cleared pages at the
next request; clearing and mapping them is a part of a step that computes nothing. jemalloc or tcmalloc do as
well, but must be preloaded before Python starts; this needs nothing installed.
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
