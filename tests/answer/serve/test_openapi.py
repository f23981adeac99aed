"""What the description of the API says is true of any request: schemathesis makes them from it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from echojepa.serve.access import AccessRules

from .conftest import LIMITS, Puppet, served

TOKEN = "a token that nobody guesses"
SETTINGS = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "413", "429"]

[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "409", "413", "415", "422", "429"]
"""
"""No check is left out. Two take 413, too: no schema can say how large files may be together, nor how long a
body; and neither takes a 500, as they would by themselves."""


def check(written: Path, folder: Path, cases: int, token: str | None, *more: str) -> str:
    """Have so many cases an operation tried with all checks; what the tool says, which found nothing."""
    limits = replace(LIMITS, studies=100, queue=8)
    (folder / "schemathesis.toml").write_text(SETTINGS)
    with served(Puppet(written), folder / "out", limits, AccessRules(token=token)) as port:
        command = [
            sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run",
            f"http://127.0.0.1:{port}/api/openapi.json", "--checks", "all", "--max-examples", str(cases),
            "--seed", "23", "--continue-on-failure", "--generation-database", "none", "--no-color",
            "--warnings", "off", "--request-timeout", "60", *more,
            *(["-H", f"Authorization: Bearer {token}"] if token else []),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("token", "phase"), [(TOKEN, "coverage"), (None, "fuzzing")])
def test_some_requests_of_every_kind_get_what_is_described(
    written: Path, tmp_path: Path, token: str | None, phase: str
) -> None:
    print(check(written, tmp_path, 3, token, "--phases", phase))


@pytest.mark.slow
@pytest.mark.parametrize("token", [TOKEN, None])
def test_a_thousand_requests_an_operation_get_what_is_described(
    written: Path, tmp_path: Path, token: str | None
) -> None:
    print(check(written, tmp_path, 1000, token, "--phases", "coverage,fuzzing"))
    (tmp_path / "then").mkdir()
    print(check(written, tmp_path / "then", 100, token, "--phases", "stateful"))
