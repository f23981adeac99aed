"""Programs that tests start, of Debian packages that the README names and `.ci/run` installs."""

from __future__ import annotations

import os
import shutil

import pytest

PROGRAMS = {
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
    "dcmtk": ("storescu",),
    "orthanc": ("Orthanc",),
}
"""Of each package: names under which the program is found."""


def program(package: str, name: str = "") -> str:
    """Where a package's program is, or another one of it by its `name`. Where it is missing the test is
    skipped with a notice; under `.ci/run`, which installs it, the test fails."""
    names = (name,) if name else PROGRAMS[package]
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin"))
    found = next((place for one in names if (place := shutil.which(one, path=path))), None)
    if found is None:
        said = f"no {names[0]} on this machine (Debian's package {package}): what needs it was not tried"
        pytest.fail(f"{said}; .ci/run must install it") if os.environ.get("CI") else pytest.skip(said)
    return found
