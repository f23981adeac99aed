"""The shape of the package, held by tests: layers, owners of facts, small functions, no dead settings."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import pytest

import echojepa.config as config_module

SOURCE = Path(config_module.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
RANKS = {
    "errors": 0, "randomness": 0, "vocabulary": 1, "tasks": 2, "models": 2,
    "config_pretrain": 2.5, "config_evaluate": 2.5, "config_finetune": 2.7, "config": 3,
    "recipes": 4, "data": 4, "phantom": 5, "training": 5, "backbones": 6, "evaluation": 7, "explain": 8,
    "report": 9, "terminal": 10, "demo": 10, "commands": 10.5, "cli": 11, "__main__": 12, "__init__": 12,
}  # fmt: skip
EVALUATION = {
    "perturbations": 0, "progress": 0, "statistics": 0, "protocol": 1, "features": 2, "probes": 3,
    "finetuning": 4, "results": 5, "cells": 5, "mechanism": 6, "scoring": 6, "comparisons": 7, "tables": 8,
    "run": 9, "finetune": 9,
}  # fmt: skip
"""Ranks within `evaluation/`."""
MOST_MODULES = 16
"""Modules of a folder at most, `__init__` not counted."""
SOLE_IMPORTERS = {
    "pydicom": {"data/dicom/"},
    "av": {"data/video.py"},
    "ray": {"data/cluster.py"},
    "nibabel": {"data/volumes.py"},
    "imagecodecs": {"data/dicom/codecs.py", "data/encoding.py"},
    "lance": {"data/store.py"},
    "safetensors": {"training/checkpoint.py"},
    "tyro": {"cli.py"},
    "rich": {"terminal.py"},
    "jinja2": {"report/page.py"},
}  # fmt: skip


def relative(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def part_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module]
    return names


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_a_module_imports_from_lower_layers_only(path: Path) -> None:
    mine = part_of(path)
    for name in imported(path):
        if name.startswith("echojepa."):
            theirs = name.split(".")[1]
            assert theirs == mine or RANKS[theirs] < RANKS[mine], f"{relative(path)} imports {name}"


def test_a_part_of_the_evaluation_imports_from_lower_parts_only() -> None:
    for path in FILES:
        if part_of(path) == "evaluation" and path.name != "__init__.py":
            mine = path.relative_to(SOURCE).parts[1].removesuffix(".py")
            for name in imported(path):
                if name.startswith("echojepa.evaluation."):
                    theirs = name.split(".")[2]
                    lower = theirs == mine or EVALUATION[theirs] < EVALUATION[mine]
                    assert lower, f"{relative(path)} imports {name}"


def test_a_folder_of_the_evaluation_is_seen_at_a_glance() -> None:
    for folder in {path.parent for path in FILES if part_of(path) in ("evaluation", "report", "commands")}:
        modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= MOST_MODULES, f"{relative(folder)} has {len(modules)} modules"


def test_a_public_class_of_the_evaluation_has_a_name_of_its_own() -> None:
    owners: dict[str, list[str]] = {}
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                owners.setdefault(node.name, []).append(relative(path))
    for name, files in owners.items():
        mine = [file for file in files if file.startswith(("evaluation/", "report/", "explain/"))]
        assert not mine or len(files) == 1, f"{name}: {files}"


@pytest.mark.parametrize("library", SOLE_IMPORTERS)
def test_a_library_with_one_owner_is_imported_nowhere_else(library: str) -> None:
    users = {relative(path) for path in FILES if library in {name.split(".")[0] for name in imported(path)}}
    assert all(user.startswith(tuple(SOLE_IMPORTERS[library])) for user in users)


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_a_function_fits_a_screen_and_a_file_has_one_reason_to_change(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 320
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 65, f"{relative(path)}:{node.name} is too long"


def test_every_setting_is_read_somewhere() -> None:
    everything = "\n".join(
        path.read_text(encoding="utf-8") for path in FILES if not path.name.startswith("config")
    )
    for name, kind in vars(config_module).items():
        if name.endswith("Config") and dataclasses.is_dataclass(kind):
            for field in dataclasses.fields(kind):
                assert f".{field.name}" in everything, f"{name}.{field.name} is never read"


def test_nothing_prints_but_the_command_line() -> None:
    for path in FILES:
        calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
        prints = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
        assert not prints, f"{relative(path)}: only terminal's console writes"
