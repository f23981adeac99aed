"""Claims about what people read: commands in code blocks exist, with these settings; links lead somewhere."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import echojepa
from echojepa.cli import parse
from echojepa.config import SHIPPED_MODEL, EmbedConfig
from echojepa.errors import UserError
from echojepa.evaluation.features.embed import embed
from echojepa.progress import quiet
from echojepa.shipped.by_name import located

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FENCED = re.compile(r"^```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each `echojepa` command in a page's code blocks; a line may go on after a backslash. Those
    that are cut short by `...` are left out."""
    for block in FENCED.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ ").strip(), comments=True) if "echojepa " in line else []
            while words and "=" in words[0]:  # settings of the environment
                words = words[1:]
            whole = len(words) > 2 and "..." not in words
            if whole and Path(words[0]).name == "echojepa":
                yield words[1:]


def test_every_command_in_the_docs_is_one_and_takes_these_settings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found, wrong = 0, []
    for page in PAGES:
        for words in commands(page):
            found += 1
            try:
                parse(words)
            except (SystemExit, UserError) as error:
                said = " ".join(capsys.readouterr().err.split())
                wrong.append(f"{page.relative_to(ROOT)}: echojepa {' '.join(words)}: {error} {said[:200]}")
    assert found > 40
    assert not wrong, "\n".join(wrong)


def test_every_link_in_the_docs_leads_to_a_file() -> None:
    missing = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in LINK.findall(page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert not missing, "\n".join(missing)


@pytest.fixture
def place(archive: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that has what the blocks call by name."""
    monkeypatch.chdir(tmp_path)
    study = min(path.parent for path in archive.rglob("*.dcm"))
    Path("MODEL").symlink_to(located(SHIPPED_MODEL))
    Path("study-1").symlink_to(study)
    with zipfile.ZipFile("study-2.zip", "w") as packed:
        packed.write(min(study.iterdir()), "a")
    Path("DATASET").symlink_to(dataset)
    embed(EmbedConfig(dataset, Path("FEATURES"), "MODEL/encoder"), quiet)
    Path("vitl.pt").symlink_to(located(SHIPPED_MODEL) / "encoder")
    return tmp_path


def test_every_block_of_python_in_the_docs_runs(place: Path) -> None:
    """Each in a namespace of its own, with what it calls `clips`; the file of weights is a folder of ours."""
    ran = 0
    for page in PAGES:
        for block in PYTHON.findall(page.read_text(encoding="utf-8")):
            names = {"echojepa": echojepa, "clips": torch.zeros(1, 3, 16, 48, 48, dtype=torch.uint8)}
            exec(compile(block, str(page.relative_to(ROOT)), "exec"), names)
            ran += 1
    assert ran >= 5 and (place / "folder" / "encoder.safetensors").is_file()


def test_scripts_import_what_there_is() -> None:
    """Benchmarks and makers of figures are run by hand, so that a name that moved would be found late."""
    for path in sorted([*ROOT.glob("benchmarks/*.py"), *ROOT.glob("docs/images/*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("echojepa"):
                module = importlib.import_module(str(node.module))
                for name in node.names:
                    there = hasattr(module, name.name) or importlib.util.find_spec(
                        f"{node.module}.{name.name}"
                    )
                    assert there, f"{path.name} imports {name.name} from {node.module}"
