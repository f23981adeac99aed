"""Millions of rows of metadata: seconds and memory of what looks at all of them.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/metadata_scale.py --rows 18000000
    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/metadata_scale.py --rows 2000000 --what verify ingest probe

Every row has all columns of a data set, ids and checksums as long as real ones, and a payload of one tiny
frame; a tenth of the studies has a label. They are written in commits of 500,000 to a folder that is deleted
afterwards (1.4 GB for 18 million). Each thing that is measured runs in a process of its own:

- `train`: what a training process does before its first step: open, `training_loops`, one epoch's order,
  1,000 rows at random, 100 loops decoded
- `fingerprint`: that of the data set, which runs, tables and caches state
- `verify`: every check, the pixels of 100 loops
- `ingest`: one small file into the set
- `probe`: the labelled samples of the task `lvef`

Resident memory is the process's peak as the system counts it. Its own part is what came after the imports.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from echojepa.data.store.encoding import Encoding
from echojepa.data.store.loop_store import FILES_VERSION, LABEL_SCHEMA, SCHEMA, TABLE, LoopStore
from echojepa.data.store.rows import encode_loop

COMMIT, LOOPS_A_PATIENT, LOOPS_A_STUDY, LABEL_EVERY = 500_000, 60, 6, 10
MASK = np.ones((4, 4), dtype=bool)


def name_of(number: int) -> str:
    """An id of a patient or a study: 20 hexadecimal digits."""
    return f"{number * 2654435761:020x}"


def rows(first: int, count: int, rng: np.random.Generator) -> pa.Table:
    """Rows `first` on, column by column."""
    pixels = vars(encode_loop([np.full((4, 4), 7, np.uint8)], MASK, Encoding.JPEG))
    numbers = np.arange(first, first + count)
    patients = numbers // LOOPS_A_PATIENT

    def text(length: int, values: np.ndarray | None = None) -> pa.Array:
        """Hexadecimal words, random or one for each value."""
        if values is not None:
            names = {value: name_of(value) for value in np.unique(values).tolist()}
            return pa.array([names[value] for value in values.tolist()])
        words = rng.bytes(count * length // 2).hex().encode()
        ends = pa.py_buffer(np.arange(0, count * length + 1, length, dtype=np.int32).tobytes())
        return pa.StringArray.from_buffers(count, ends, pa.py_buffer(words))

    known = {
        **{name: [value] for name, value in pixels.items()}, "split": None, "site": ["site"], "view": ["A4C"],
        "kind": ["cine"], "times": [[0.0]], "frame_rate": [30.0], "time_source": ["FrameTime"],
        "time_warning": [""],
        "pixel_height_mm": [0.5], "pixel_width_mm": [0.5], "heart_rate": [None], "sex": [None], "age": [None],
        "study_date": [None], "manufacturer": ["other"],
    }  # fmt: skip
    split = pa.array(["train", "val", "test"]).take(pa.array(np.digitize(patients % 20, [14, 17])))
    of_rows = {
        "loop_id": text(20), "file_id": text(20), "pixel_sha256": text(64),
        "study_id": text(20, numbers // LOOPS_A_STUDY),
        "patient_id": text(20, patients), "patient_ordinal": pa.array(patients), "split": split,
    }  # fmt: skip
    zeros = pa.array(np.zeros(count, np.int64))
    columns = [
        of_rows[field.name] if field.name in of_rows else pa.array(known[field.name], field.type).take(zeros)
        for field in SCHEMA
    ]
    return pa.table(columns, schema=SCHEMA)


Figures = dict[str, float]


@contextmanager
def timed(figures: Figures, name: str) -> Iterator[None]:
    """CPU seconds of a block, of this process alone."""
    began = time.process_time()
    yield
    figures[name] = time.process_time() - began


def train(root: Path, figures: Figures) -> None:
    """What a training process does before its first step."""
    import torch

    from echojepa.config import InputSpec
    from echojepa.training.pretrain import training_loops

    figures["imports_gb"] = peak()
    with timed(figures, "open_s"):
        store = LoopStore.open(root)
        figures["rows"] = store.table.count_rows()
    with timed(figures, "training_loops_s"):
        table = training_loops(store, InputSpec())
    figures["training_loops"] = len(table)
    with timed(figures, "permute_s"):
        order = torch.randperm(len(table))
    chosen = table["row"].take(order[:1000].numpy()).to_pylist()
    with timed(figures, "take_1000_s"):
        store.table.take(chosen, columns=["loop_id", "view", "patient_id"])
    with timed(figures, "loops_100_s"):
        for row in chosen[:100]:
            store.loop(row).frames()


def fingerprint(root: Path, figures: Figures) -> None:
    """The data set's fingerprint."""
    figures["imports_gb"] = peak()
    with timed(figures, "fingerprint_s"):
        LoopStore.open(root).fingerprint()


def verify(root: Path, figures: Figures) -> None:
    """Every check of rows, and of the pixels of 100 loops."""
    from echojepa.data.verify.verify import verify as run
    from echojepa.progress import quiet

    figures["imports_gb"] = peak()
    with timed(figures, "verify_s"):
        run(LoopStore.open(root), 100, quiet)


def ingest(root: Path, figures: Figures) -> None:
    """One small file into a copy of the set, whose private map has all files that came in."""
    from pydicom.data import get_testdata_file

    from echojepa.config import IngestConfig
    from echojepa.data.identity.private import beside
    from echojepa.data.ingest.ingest import ingest as run
    from echojepa.data.ingest.key import fingerprint as key_fingerprint
    from echojepa.progress import quiet

    figures["imports_gb"] = peak()
    small = Path(str(get_testdata_file("examples_ybr_color.dcm")))
    with tempfile.TemporaryDirectory() as folder:
        key, copy = Path(folder) / "key", Path(folder) / "data"
        key.write_bytes(b"a key of the benchmark alone")
        shutil.copytree(root, copy)
        LoopStore.open(copy).remember_key(key_fingerprint(key.read_bytes()))
        with beside(key, "files").open("w") as file:
            file.write("file_id,path,size,changed\n")
            for piece in LoopStore.open(copy).batches(["file_id"]):
                file.writelines(
                    f"{one.as_py()},/archive/of/the/house/{number:08}.dcm,{number},1700000000000000000\n"
                    for number, one in enumerate(piece["file_id"])
                )
        with timed(figures, "ingest_s"):
            run(IngestConfig(sources=(small,), out=copy, key=key, workers=1), quiet)


def probe(root: Path, figures: Figures) -> None:
    """The samples of a labelled task, as `probe` and `evaluate` choose them."""
    from echojepa.evaluation.protocol.cohort import read_cohort
    from echojepa.evaluation.protocol.samples import task_samples
    from echojepa.tasks import LVEF

    figures["imports_gb"] = peak()
    with timed(figures, "probe_s"):
        figures["samples"] = len(task_samples(read_cohort([root]), LVEF, 1).truth)


MEASURED: dict[str, Callable[[Path, Figures], None]] = {
    "train": train, "fingerprint": fingerprint, "verify": verify, "probe": probe, "ingest": ingest,
}  # fmt: skip


def peak() -> float:
    """Most resident memory so far, GB (getrusage would count the parent's too)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def write(root: Path, count: int) -> None:
    """The data set."""
    import lance

    LoopStore.create(root, 0)
    rng = np.random.default_rng(0)
    for first in range(0, count, COMMIT):
        part = rows(first, min(COMMIT, count - first), rng)
        lance.write_dataset(part, str(root / TABLE), mode="append", data_storage_version=FILES_VERSION)
    studies = range(0, -(-count // LOOPS_A_STUDY), LABEL_EVERY)
    of_studies = [
        [name_of(study) for study in studies], ["lvef"] * len(studies),
        [50.5 + study % 20 for study in studies], ["%"] * len(studies),
    ]  # fmt: skip
    LoopStore.open(root).add_labels(pa.table(of_studies, schema=LABEL_SCHEMA))


def measured(what: str, root: Path) -> Figures:
    """Figures of one thing, in a process of its own."""
    command = [sys.executable, __file__, "--measure", what, "--root", str(root)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Write, measure and print; the last line has the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=18_000_000)
    parser.add_argument("--what", nargs="+", choices=[*MEASURED], default=[*MEASURED])
    parser.add_argument("--measure", choices=[*MEASURED], help="only this, in this process")
    parser.add_argument("--root", type=Path, help="a data set that is there already, and stays")
    options = parser.parse_args()
    if options.measure:
        figures: Figures = {}
        MEASURED[options.measure](options.root, figures)
        figures |= {"peak_gb": peak(), "own_gb": peak() - figures["imports_gb"]}
        print(json.dumps(figures))
        return
    last = []
    with tempfile.TemporaryDirectory() as folder:
        root = options.root or Path(folder) / "data"
        if not options.root:
            began = time.perf_counter()
            write(root, options.rows)
            size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) / 1e9
            print(f"{options.rows} rows, {size:.2f} GB, written in {time.perf_counter() - began:.0f} s")
        for what in options.what:
            figures = measured(what, root)
            print(what, flush=True)
            for name, value in figures.items():
                print(f"  {name:18} {value:.3f}" if isinstance(value, float) else f"  {name:18} {value}")
            last += [f"{what}_gb={figures['peak_gb']:.2f}", f"{what}_own_gb={figures['own_gb']:.2f}"]
    print(" ".join(last))


if __name__ == "__main__":
    main()
