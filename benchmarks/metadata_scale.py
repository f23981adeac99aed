"""18 million rows of metadata: time to open, to find the training loops, to permute, to take 1,000 at random.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/metadata_scale.py --rows 18000000

Every row has all columns of a data set, ids and checksums as long as real ones, and a payload of one tiny
frame. They are written in commits of 500,000 to a folder that is deleted afterwards (some 3 GB). What is
measured runs in a process of its own, so that its memory is that of a training process: the package
imported, the data set open, `training_loops` and one epoch's order in memory. Resident memory is the
process's peak as the system counts it; beside it what the imports alone take.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from echojepa.data.store.encoding import Encoding
from echojepa.data.store.loop_store import FILES_VERSION, SCHEMA, TABLE, LoopStore
from echojepa.data.store.rows import encode_loop

COMMIT, LOOPS_A_PATIENT = 500_000, 60
MASK = np.ones((4, 4), dtype=bool)


def rows(first: int, count: int, rng: np.random.Generator) -> pa.Table:
    """Rows `first` on, column by column."""
    pixels = vars(encode_loop([np.full((4, 4), 7, np.uint8)], MASK, Encoding.JPEG))
    numbers = np.arange(first, first + count)
    patients = numbers // LOOPS_A_PATIENT

    def text(length: int, values: np.ndarray | None = None) -> pa.Array:
        """Hexadecimal words, random or one for each value."""
        if values is not None:
            names = {value: f"{value * 2654435761:020x}" for value in np.unique(values).tolist()}
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
        "study_id": text(20, numbers // 6),
        "patient_id": text(20, patients), "patient_ordinal": pa.array(patients), "split": split,
    }  # fmt: skip
    zeros = pa.array(np.zeros(count, np.int64))
    columns = [
        of_rows[field.name] if field.name in of_rows else pa.array(known[field.name], field.type).take(zeros)
        for field in SCHEMA
    ]
    return pa.table(columns, schema=SCHEMA)


def peak() -> float:
    """Most resident memory so far, GB (getrusage would count the parent's too)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def measure(root: Path) -> None:
    """What a training process does before its first step."""
    import torch

    from echojepa.config import InputSpec
    from echojepa.training.pretrain import training_loops

    figures = {"imports_gb": peak()}

    def timed(name: str, act: Callable[[], object]) -> object:
        began = time.perf_counter()
        result = act()
        figures[name] = time.perf_counter() - began
        return result

    store = LoopStore(root)
    timed("open_s", lambda: LoopStore.open(root) and store.table.count_rows())
    figures["rows"] = store.table.count_rows()
    table: pa.Table = timed("training_loops_s", lambda: training_loops(store, InputSpec()))  # pyright: ignore
    figures["training_loops"] = len(table)
    order: torch.Tensor = timed("permute_s", lambda: torch.randperm(len(table)))  # pyright: ignore
    chosen = table["row"].take(order[:1000].numpy()).to_pylist()
    timed("take_1000_s", lambda: store.table.take(chosen, columns=["loop_id", "view", "patient_id"]))
    timed("loops_100_s", lambda: [store.loop(row).frames() for row in chosen[:100]])
    print(json.dumps({**figures, "peak_gb": peak()}))


def main() -> None:
    """Write, measure and print; the last line has the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=18_000_000)
    parser.add_argument("--measure", type=Path)
    options = parser.parse_args()
    if options.measure:
        return measure(options.measure)
    import lance

    with tempfile.TemporaryDirectory() as folder:
        root, rng = Path(folder) / "data", np.random.default_rng(0)
        LoopStore.create(root, 0)
        began = time.perf_counter()
        for first in range(0, options.rows, COMMIT):
            part = rows(first, min(COMMIT, options.rows - first), rng)
            lance.write_dataset(part, str(root / TABLE), mode="append", data_storage_version=FILES_VERSION)
        size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) / 1e9
        print(
            f"{options.rows} rows, {size:.2f} GB, written in {time.perf_counter() - began:.0f} s", flush=True
        )
        command = [sys.executable, __file__, "--measure", str(root)]
        figures = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    for name, value in figures.items():
        print(f"  {name:18} {value:.3f}" if isinstance(value, float) else f"  {name:18} {value}")
    print(
        f"open={figures['open_s']:.2f} permute={figures['permute_s']:.2f} take={figures['take_1000_s']:.2f} "
        f"memory={figures['peak_gb']:.2f}"
    )
    return None


if __name__ == "__main__":
    main()
