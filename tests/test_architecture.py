"""The shape of the package, held by tests: layers, owners of facts, small functions, no dead settings."""

from __future__ import annotations

import ast
import dataclasses
import functools
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import echojepa.config as config_module

SOURCE = Path(config_module.__file__).parents[1]
FILES = sorted(SOURCE.rglob("*.py"))
RANKS = {
    "errors": 0, "version": 0, "randomness": 0, "progress": 0, "vocabulary": 1, "files": 1, "shipped": 1,
    "tasks": 2, "config": 2, "recipes": 3, "processes": 3, "models": 3, "weights": 4, "data": 4, "phantom": 5,
    "training": 5, "backbones": 6, "evaluation": 7, "explain": 8, "report": 9, "answer": 9.5,
    "serve": 9.7, "listen": 9.7,
    "terminal": 10, "demo": 10, "commands": 10.5, "cli": 11, "__main__": 12, "__init__": 12,
}  # fmt: skip
RANKS_WITHIN = {
    "data": {
        "identity": 0, "store": 0, "importers": 1, "clips": 1, "reading": 2, "sector": 3, "verify": 4,
        "ingest": 5,
    },
    "phantom": {"scene": 0, "planes": 1, "heart": 2, "scanner": 2, "screen": 3, "cohort": 4},
    "evaluation": {
        "statistics": 0, "protocol": 1, "perturbations": 1.5, "features": 2, "probes": 3, "finetuning": 4,
        "results": 5, "cells": 5, "mechanism": 6, "scoring": 6, "runs": 6,
        "comparisons": 7, "tables": 8, "run": 9, "finetune": 9,
    },
    "answer": {
        "values": 0, "quality": 1, "model": 2, "gathering": 2, "assemble": 3, "study": 3, "survey": 3,
        "loops": 4, "tasks": 5, "predict": 6, "writing": 6, "worker": 7, "process": 8,
    },
    "serve": {
        "refusals": 0, "reviews": 1, "jobs": 1, "uploads": 2, "runner": 2, "service": 3, "access": 3,
        "api": 4, "pages": 4, "app": 5, "server": 6,
    },
    "listen": {"audit": 0, "studies": 0, "receiving": 1, "sending": 2, "service": 3},
}  # fmt: skip
"""Below a folder. The phantom's heart and scanner have one rank, so neither may import the other."""
SOLE_IMPORTERS = {
    "pydicom": {"data/reading/dicom/"},
    "av": {"data/reading/video.py", "explain/writing.py"},
    "ray": {"processes/cluster.py"},
    "nibabel": {"data/reading/volumes.py"},
    "imagecodecs": {"data/reading/dicom/codecs.py", "data/store/encoding.py"},
    "lance": {"data/store/loop_store.py"},
    "safetensors": {"weights/tensors.py"},
    "tyro": {"cli.py"},
    "rich": {"terminal.py"},
    "jinja2": {"report/page.py"},
    "fastapi": {"serve/"},
    "starlette": {"serve/"},
    "uvicorn": {"serve/server.py"},
    "pynetdicom": {"listen/receiving.py"},
    "highdicom": {"answer/writing/structured_report.py"},
}  # fmt: skip
MOST_MODULES = 16
TORCHLESS = (
    "import echojepa.config, echojepa.recipes",
    "from echojepa.cli import main; main(['--help'])",
    "from echojepa.cli import main; main(['verify', '--help'])",
    "import echojepa.data.verify.verify, echojepa.data.ingest.dry_run, echojepa.evaluation.protocol.plans",
    "from echojepa.cli import main; main(['evaluate', 'paper', '--data', 'nowhere', '--out', 'x', "
    "'--backbones', 'y'])",
    "from echojepa.cli import main; main(['predict', 'nowhere', '--out', 'x'])",
    "from echojepa.cli import main; main(['attend', '--data', 'nowhere', '--out', 'x', '--backbones', 'y'])",
    "from echojepa.cli import main; main(['survey', '--data', 'nowhere', '--out', 'x', '--features', 'y', "
    "'--model', 'z'])",
)


def relative(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def part_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def names_in(node: ast.AST) -> list[str]:
    """What an import statement imports, modules of this package by the name of each."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        inner = [f"{node.module}.{alias.name}" for alias in node.names]
        return [node.module, *(name for name in inner if name in modules())]
    return []


@functools.cache
def imported(path: Path) -> list[str]:
    return [name for node in ast.walk(tree_of(path)) for name in names_in(node)]


@functools.cache
def modules() -> dict[str, Path]:
    """Each module's file, by its name."""
    dotted = {path: relative(path).removesuffix(".py").replace("/", ".") for path in FILES}
    return {f"echojepa.{name}".removesuffix(".__init__"): path for path, name in dotted.items()}


def test_a_module_imports_from_lower_layers_only() -> None:
    for path in FILES:
        mine = part_of(path)
        for name in imported(path):
            assert name != "echojepa", f"{relative(path)} imports the package itself"
            if name.startswith("echojepa."):
                theirs = name.split(".")[1]
                assert theirs == mine or RANKS[theirs] < RANKS[mine], f"{relative(path)} imports {name}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports at the top of a file; one within a function is made when everything is there."""
    graph = {}
    for name, path in modules().items():
        top = [node for node in tree_of(path).body if not isinstance(node, ast.If)]
        found = {other for node in top for other in names_in(node)} & modules().keys()
        graph[name] = found - {name}
    assert len(list(TopologicalSorter(graph).static_order())) == len(FILES)


@pytest.mark.parametrize("folder", RANKS_WITHIN)
def test_within_a_folder_a_part_imports_from_lower_parts_only(folder: str) -> None:
    ranks = RANKS_WITHIN[folder]
    for path in (SOURCE / folder).rglob("*.py"):
        mine = path.relative_to(SOURCE / folder).parts[0].removesuffix(".py")
        for name in imported(path):
            if name.startswith(f"echojepa.{folder}.") and mine != "__init__":
                theirs = name.split(".")[2]
                allowed = theirs == mine or ranks[theirs] < ranks[mine]
                assert allowed, f"{relative(path)} imports {name}"


def test_a_library_with_one_owner_is_imported_nowhere_else() -> None:
    for library, owners in SOLE_IMPORTERS.items():
        for path in FILES:
            if library in {name.split(".")[0] for name in imported(path)}:
                assert relative(path).startswith(tuple(owners)), f"{relative(path)} imports {library}"


@pytest.mark.parametrize("script", TORCHLESS)
def test_settings_help_dry_runs_and_refusals_do_not_wait_for_torch(script: str) -> None:
    """It takes seconds to import. `--help` ends the process, so the question is asked on the way out."""
    ask = "import atexit, os, sys; atexit.register(lambda: os._exit('torch' in sys.modules)); "
    assert subprocess.run([sys.executable, "-c", ask + script], capture_output=True).returncode == 0


def test_a_function_fits_a_screen_and_a_file_has_one_reason_to_change() -> None:
    for path in FILES:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 320, f"{relative(path)} is too long"
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef):
                lines = (node.end_lineno or 0) - node.lineno
                assert lines < 65, f"{relative(path)}:{node.name} is too long"


def test_a_folder_is_seen_at_a_glance() -> None:
    counts = Counter(relative(path.parent) for path in FILES if path.name != "__init__.py")
    for folder, count in counts.items():
        assert count <= MOST_MODULES, f"{folder}/ has {count} modules; make a folder"


def test_a_public_class_has_a_name_of_its_own() -> None:
    classes = [
        node.name for path in FILES for node in ast.walk(tree_of(path)) if isinstance(node, ast.ClassDef)
    ]
    twice = {name for name, count in Counter(classes).items() if count > 1 and not name.startswith("_")}
    assert not twice, f"{twice} name two classes each"


CONFIGS = {
    name: kind
    for name, kind in vars(config_module).items()
    if name.endswith("Config") and dataclasses.is_dataclass(kind)
}


def settings_of(annotation: ast.AST | str | None) -> set[str]:
    """Names of config classes in an annotation."""
    text = annotation if isinstance(annotation, str) else ast.unparse(annotation) if annotation else ""
    return {
        name for name in CONFIGS if name in text.replace("|", " ").replace("[", " ").replace("]", " ").split()
    }


class Reads:
    """Which fields of config objects a file reads, as `x.field` where x is known to be such an object."""

    def __init__(self, attributes: dict[str, set[str]]) -> None:
        self.attributes = attributes
        """Config classes of attributes that are annotated somewhere, by their name."""
        self.names: dict[str, set[str]] = {}
        self.found: set[tuple[str, str]] = set()

    def kinds(self, node: ast.AST) -> set[str]:
        """The config classes that an expression may be of."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id, set())
        if isinstance(node, ast.Attribute):
            owners = self.kinds(node.value)
            fields = [f for kind in owners for f in dataclasses.fields(CONFIGS[kind]) if f.name == node.attr]
            known = {name for field in fields for name in settings_of(str(field.type))}
            return known if owners else self.attributes.get(node.attr, set())
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "replace":
            return self.kinds(node.args[0])
        return set()

    def bind(self, target: ast.AST, value: ast.AST) -> None:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for one, other in zip(target.elts, value.elts, strict=False):
                self.bind(one, other)
        elif isinstance(target, ast.Name) and self.kinds(value):
            self.names[target.id] = self.kinds(value)

    def read(self, tree: ast.Module) -> set[tuple[str, str]]:
        for node in ast.walk(tree):
            if isinstance(node, ast.arg) and settings_of(node.annotation):
                self.names.setdefault(node.arg, set()).update(settings_of(node.annotation))
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign):
                self.bind(node.targets[0], node.value)
            elif isinstance(node, ast.comprehension | ast.For) and isinstance(node.target, ast.Name):
                self.bind(node.target, node.iter)
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                self.found |= {(kind, node.attr) for kind in self.kinds(node.value)}
        return self.found


def annotated_attributes() -> dict[str, set[str]]:
    """Config classes of the fields of classes, and of what a constructor keeps of its arguments."""
    known: dict[str, set[str]] = {}
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if isinstance(inner, ast.AnnAssign) and settings_of(inner.annotation):
                        known.setdefault(ast.unparse(inner.target), set()).update(
                            settings_of(inner.annotation)
                        )
                    elif isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
                        for argument in inner.args.args:
                            kinds = settings_of(argument.annotation)
                            if kinds:
                                known.setdefault(argument.arg, set()).update(kinds)
    return known


def kin(name: str) -> Iterator[str]:
    """A config class, and those that inherit from it."""
    return (other for other, kind in CONFIGS.items() if issubclass(kind, CONFIGS[name]))


def test_every_setting_is_read_somewhere() -> None:
    """Outside of config/, and of an object that is known to be of the setting's class."""
    attributes = annotated_attributes()
    found: set[tuple[str, str]] = set()
    for path in FILES:
        if part_of(path) != "config":
            found |= Reads(attributes).read(tree_of(path))
    for name, kind in CONFIGS.items():
        for field in dataclasses.fields(kind):
            owners = {other for other in CONFIGS if issubclass(kind, CONFIGS[other])} | set(kin(name))
            assert any((owner, field.name) in found for owner in owners), f"{name}.{field.name} is never read"


def test_nothing_prints_but_the_command_line() -> None:
    for path in FILES:
        calls = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
        prints = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
        assert not prints, f"{relative(path)}: only terminal's console writes"
