"""The machine's own browser, without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

FLAGS = [
    f"--{flag}"
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync",
        "disable-background-networking", "disable-component-update", "enable-logging=stderr",
        "virtual-time-budget=3000", "host-resolver-rules=MAP * ~NOTFOUND", "dump-dom",
    )
]  # fmt: skip


@pytest.fixture
def open_page(tmp_path: Path) -> Callable[[Path], str]:
    """Open a page in Chromium and return what its scripts made of it; an error on its console fails."""
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next((found for name in names if (found := shutil.which(name))), None)
    if chromium is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium on this machine; .ci/run must install it")
        pytest.skip("no Chromium on this machine: the page was not opened in a browser")

    def open_it(page: Path) -> str:
        profile = f"--user-data-dir={tmp_path / f'profile-{page.stem}'}"
        command = [chromium, *FLAGS, profile, page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        return done.stdout

    return open_it
