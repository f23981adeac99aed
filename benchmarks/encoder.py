"""Speed and memory of the frozen encoder against transformers' VJEPA2Model with SDPA, on this CPU.

    .venv/bin/pip install -e '.[dev,fast]'
    .venv/bin/python benchmarks/encoder.py --threads 2 --rounds 5

Both sides have the same random ViT-L weights, the same clips and threads, and take turns in one process;
each figure is the ratio of their fastest rounds, its spread the ratios of the rounds. Theirs is always torch,
ours torch and OpenVINO. Beside them stands what a plain matrix product of the encoder's shapes reaches.
Memory is the peak of a process of its own, from import to the last of three calls.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from echojepa.backbones.compiled import CompiledTransformer
from echojepa.backbones.transformer import VideoTransformer
from echojepa.config import SIZES, Architecture, InputSpec
from echojepa.models.vit import VisionTransformer
from echojepa.weights.huggingface import to_huggingface

SPEC = InputSpec(size=224, frames=16)
Run = Callable[[Tensor], Tensor]


def make_encoder(size: str) -> VisionTransformer:
    """The encoder with cheap random weights of a usual size."""
    with torch.device("meta"):
        encoder = VisionTransformer(Architecture(size), SPEC, torch.Generator())  # pyright: ignore
    generator = torch.Generator().manual_seed(0)
    state = {
        name: torch.ones(value.shape) if "norm" in name and name.endswith("weight")
        else torch.empty(value.shape).normal_(0, 0.02, generator=generator)
        for name, value in encoder.state_dict().items()
    }  # fmt: skip
    encoder.load_state_dict(state, assign=True)
    return encoder.eval()


def ours(size: str, precision: str, engine: str, threads: int) -> Run:
    """Our backbone's features of prepared clips."""
    backbone = VideoTransformer("ours", make_encoder(size), SPEC)
    if engine == "openvino":
        compiled = CompiledTransformer(backbone, precision, threads)  # pyright: ignore
        return lambda pixels: compiled.features(pixels).tokens
    backbone.set_precision(precision)  # pyright: ignore
    return lambda pixels: backbone.features(pixels).tokens


def theirs(size: str, precision: str) -> Run:
    """transformers' encoder on the same weights."""
    from transformers import VJEPA2Config, VJEPA2Model

    row = SIZES[size]  # pyright: ignore
    config = VJEPA2Config(
        crop_size=224, frames_per_clip=16, hidden_size=row.width, num_attention_heads=row.heads,
        num_hidden_layers=row.depth, mlp_ratio=row.hidden / row.width, pred_num_hidden_layers=1,
        attn_implementation="sdpa",
    )  # fmt: skip
    with torch.device("meta"):
        model = VJEPA2Model(config)
    model.encoder.load_state_dict(
        {name.removeprefix("encoder."): value for name, value in
         to_huggingface(dict(make_encoder(size).state_dict()), "encoder").items()}, assign=True,
    )  # fmt: skip
    del model.predictor
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    encoder = model.encoder.eval().to(dtype)
    return lambda pixels: encoder(pixels.transpose(1, 2).to(dtype)).last_hidden_state.float()


def build(name: str, size: str, threads: int) -> Run:
    """A side by its name, `theirs bf16` or `ours int8 openvino`."""
    side, precision, *engine = name.split()
    return theirs(size, precision) if side == "theirs" else ours(size, precision, engine[0], threads)


MATCHES = (
    ("theirs bf16", "ours bf16 torch", "ours bf16 openvino", "ours int8 openvino"),
    ("theirs float32", "ours float32 torch", "ours float32 openvino"),
)
"""Who takes turns with whom; all seven at once would not fit 24 GB."""


def take_turns(runs: dict[str, Run], pixels: Tensor, rounds: int) -> dict[str, np.ndarray]:
    """Seconds of each side in each round, after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            run(pixels)
            if number:
                seconds[name].append(time.perf_counter() - began)
    return {name: np.array(values) for name, values in seconds.items()}


def product_rate(precision: str, row_width: int, hidden: int, tokens: int) -> float:
    """Arithmetic rate, GFLOP/s, of plain matrix products of the encoder's shapes, best of twenty."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    shapes = ((row_width, 3 * row_width), (row_width, row_width), (row_width, hidden), (hidden, row_width))
    seconds = 0.0
    for inner, outer in shapes:
        x, weight = torch.randn(tokens, inner).to(dtype), torch.randn(outer, inner).to(dtype)
        times = []
        for _ in range(20):
            began = time.perf_counter()
            F.linear(x, weight)
            times.append(time.perf_counter() - began)
        seconds += min(times)
    return sum(2 * tokens * inner * outer for inner, outer in shapes) / seconds / 1e9


def flops(size: str) -> float:
    """Multiplications and additions of a clip: linear layers and attention."""
    row, tokens = SIZES[size], 1568  # pyright: ignore
    linear = 2 * tokens * (4 * row.width**2 + 2 * row.width * row.hidden)
    attention = 4 * tokens * tokens * row.width
    return row.depth * (linear + attention) + 2 * tokens * row.width * 1536


def peak_memory() -> float:
    """Peak resident GB of this process; getrusage would give the parent's, which exec inherits (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1e6


def memory_of(name: str, size: str, threads: int) -> float:
    """Peak resident GB of a process that builds one side and calls it three times on a clip."""
    command = [sys.executable, __file__, "--size", size, "--threads", str(threads), "--memory-of", name]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


@torch.inference_mode()
def main() -> None:
    """Measure and print; the last line has the ratios that matter."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="large", choices=list(SIZES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--memory-of")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clip = torch.randn(1, 3, 16, 224, 224, generator=torch.Generator().manual_seed(1))
    if options.memory_of:
        run = build(options.memory_of, options.size, options.threads)
        for _ in range(3):
            run(clip)
        print(peak_memory())
        return
    features: dict[str, Tensor] = {}
    best: dict[str, float] = {}
    for match in MATCHES:
        runs = {name: build(name, options.size, options.threads) for name in match}
        for batch in options.batches:
            seconds = take_turns(runs, clip.repeat(batch, 1, 1, 1, 1), options.rounds)
            print(f"batch {batch}: seconds a clip, fastest (median); times as fast as theirs (of rounds)")
            for name, values in seconds.items():
                ratios = seconds[match[0]] / values
                ratio = seconds[match[0]].min() / values.min()
                best[name] = max(best.get(name, 0.0), ratio)
                rate = flops(options.size) * batch / values.min() / 1e9
                print(f"  {name:22} {values.min() / batch:6.2f} ({np.median(values) / batch:6.2f})   "
                      f"{ratio:5.2f} ({ratios.min():.2f} to {ratios.max():.2f})   {rate:5.0f} GFLOP/s",
                      flush=True)  # fmt: skip
        features |= {name: run(clip) for name, run in runs.items()}
        del runs
    row = SIZES[options.size]
    for precision in ("bf16", "float32"):
        rate = product_rate(precision, row.width, row.hidden, 1568)
        print(f"plain products, torch, {precision}: {rate:.0f} GFLOP/s")
    print("mean difference from theirs in float32, as a share of its standard deviation")
    reference = features["theirs float32"]
    for name, found in features.items():
        print(f"  {name:22} {(found - reference).abs().mean() / reference.std():.5f}")
    print("peak memory, GB")
    memory = {name: memory_of(name, options.size, options.threads) for match in MATCHES for name in match}
    for name, value in memory.items():
        print(f"  {name:22} {value:.2f}")
    share = memory["ours bf16 torch"] / memory["theirs bf16"]
    fastest = {
        p: max(v for n, v in best.items() if n.startswith(f"ours {p}")) for p in ("bf16", "float32", "int8")
    }
    print(" ".join(f"{p}={v:.2f}" for p, v in fastest.items()) + f" memory={share:.2f}")


if __name__ == "__main__":
    main()
