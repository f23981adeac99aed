"""What the process that workers are forked from loads first: it never reads a table itself, so that lance,
which warns before any fork, has nothing running in it that a fork could break."""

from __future__ import annotations

import warnings

warnings.filterwarnings("ignore", message="lance is not fork-safe")
