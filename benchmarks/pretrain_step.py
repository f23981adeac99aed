"""Speed and memory of a JEPA training step against V-JEPA 2's official one, on this CPU.

    git clone https://github.com/facebookresearch/vjepa2 PEER     # MIT licence; nothing of it is in here
    .venv/bin/pip install timm einops                             # what its modules import
    .venv/bin/python benchmarks/pretrain_step.py --peer PEER --threads 2 --rounds 8

Both sides have the same weights, prepared clips, masks, precision and threads: target pass, a context pass
and the predictor for each of two mask types, L1, backward, AdamW, EMA. Each is a process of its own, for
the allocator is part of ours, and they take turns step by step. Figures are the ratios of the fastest
rounds, with the ratios of the rounds as their spread; of memory the ratio of the peaks, without what the
process had before it built its model. Before anything is timed, both sides' losses and gradients of the
first step are compared, and the benchmark ends with an error where they are not equal. Without --peer only
ours is timed, with the table of where its time goes. On a machine that others use as well, `--clock cpu
--threads 1` counts CPU seconds in place of seconds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echojepa.config import PAPER_MASKS, SIZES, Architecture, InputSpec
from echojepa.models.contract import prepare
from echojepa.models.jepa import JEPA
from echojepa.models.masking import Mask, sample_mask
from echojepa.models.predictor import Predictor, PredictorShape
from echojepa.models.vit import VisionTransformer
from echojepa.processes.allocator import keep_pages

SPEC = InputSpec(size=112, frames=16)
MOMENTUM, RATE = 0.998, 1e-4
Step = Callable[[Tensor, list[Mask]], float]
Sides = tuple[dict[str, nn.Module], Step]
"""Encoder and predictor, whose gradients stay until the next step begins, and what takes a step."""
TOLERANCE = {"float32": 1e-4, "bf16": 5e-2}
"""Of first losses, and of each weight's first gradient: length of the difference over the gradient's."""
Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}


def make_model(size: str, width: int, depth: int, spec: InputSpec = SPEC) -> JEPA:
    """Encoder and predictor of the comparison."""
    generator = torch.Generator().manual_seed(0)
    encoder = VisionTransformer(Architecture(size), spec, generator)  # pyright: ignore
    shape = PredictorShape(width, depth, 12, encoder.width)
    return JEPA(encoder, Predictor(encoder.width, encoder.grid, shape, "vjepa2", generator))


def ours(options: argparse.Namespace, precision: str) -> Sides:
    """Our step, as `training/step.py` takes it."""
    model = make_model(options.size, options.width, options.depth)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], RATE, fused=True)

    def step(clips: Tensor, masks: list[Mask]) -> float:
        optimizer.zero_grad(set_to_none=True)
        losses = []
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            targets = model.targets(clips, masks)
        for mask, wanted in zip(masks, targets, strict=True):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                loss = model.loss(clips, mask, wanted) / len(masks)
            loss.backward()
            losses.append(loss.item())
        optimizer.step()
        model.update_ema(MOMENTUM)
        return sum(losses)

    assert model.predictor is not None
    return {"encoder": model.encoder, "predictor": model.predictor}, step


def theirs(options: argparse.Namespace, precision: str) -> Sides:
    """Their modules and wrappers, stepped in the order of their app/vjepa/train.py."""
    sys.path.insert(0, str(options.peer))
    from src.models import predictor as peer_predictor  # pyright: ignore
    from src.models import vision_transformer as peer_encoder  # pyright: ignore
    from src.utils.wrappers import MultiSeqWrapper, PredictorMultiSeqWrapper  # pyright: ignore

    row = SIZES[options.size]
    shared: dict[str, Any] = {
        "img_size": (SPEC.size, SPEC.size), "num_frames": SPEC.frames, "tubelet_size": 2, "patch_size": 16,
        "use_rope": True, "use_sdpa": True,
    }  # fmt: skip

    def encoder() -> nn.Module:
        return MultiSeqWrapper(
            peer_encoder.VisionTransformer(
                embed_dim=row.width, depth=row.depth, num_heads=row.heads, mlp_ratio=row.hidden / row.width,
                qkv_bias=True, norm_layer=lambda width: nn.LayerNorm(width, eps=1e-6), **shared,
            )
        )  # fmt: skip

    online, target = encoder(), encoder()
    predictor = PredictorMultiSeqWrapper(
        peer_predictor.vit_predictor(
            use_mask_tokens=True, embed_dim=row.width, predictor_embed_dim=options.width, depth=options.depth,
            num_heads=12, num_mask_tokens=10, zero_init_mask_tokens=True, **shared,
        )
    )  # fmt: skip
    same = make_model(options.size, options.width, options.depth)
    for module, source in ((online, same.encoder), (target, same.encoder), (predictor, same.predictor)):
        missing = module.backbone.load_state_dict(source.state_dict(), strict=False).missing_keys  # pyright: ignore
        assert all(key.startswith("mask_tokens.") or key.endswith("pos_embed") for key in missing), missing
    target.requires_grad_(False)
    optimizer = torch.optim.AdamW([*online.parameters(), *predictor.parameters()], RATE)

    def step(clips: Tensor, masks: list[Mask]) -> float:
        optimizer.zero_grad()
        context, hidden = [[m.context_ids for m in masks]], [[m.target_ids for m in masks]]
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            with torch.no_grad():
                features = [F.layer_norm(h, (h.size(-1),)) for h in target([clips])]
            predicted = predictor(online([clips], context), context, hidden)
            losses = [
                (p - h.gather(1, ids.unsqueeze(-1).repeat(1, 1, h.size(-1)))).abs().mean()
                for ps, h, many in zip(predicted, features, hidden, strict=True)
                for p, ids in zip(ps, many, strict=True)
            ]
            loss = sum(losses) / len(losses)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            kept, moved = list(target.parameters()), list(online.parameters())
            torch._foreach_mul_(kept, MOMENTUM)  # pyright: ignore
            torch._foreach_add_(kept, moved, alpha=1 - MOMENTUM)  # pyright: ignore
        return loss.item()

    return {"encoder": online.backbone, "predictor": predictor.backbone}, step


SIDES = {"ours": ours, "theirs": theirs}


def batches(options: argparse.Namespace, number: int) -> list[tuple[Tensor, list[Mask]]]:
    """Clips and masks of some steps, the same for both sides."""
    draws = torch.Generator().manual_seed(1)
    grid = Architecture(options.size).grid(SPEC)
    clips = torch.randn(options.batch, 3, SPEC.frames, SPEC.size, SPEC.size, generator=draws)
    return [(clips, [sample_mask(m, grid, options.batch, draws) for m in PAPER_MASKS]) for _ in range(number)]


def resident(field: str) -> float:
    """GB of this process: VmRSS now, VmHWM at its highest (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field)) / 1e6


class Side:
    """A process that takes one side's steps when told to."""

    def __init__(self, name: str, precision: str, folder: Path) -> None:
        self.gradients = folder / f"{name}.pt"
        command = [sys.executable, __file__, *sys.argv[1:], "--serve", name, precision, str(self.gradients)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def step(self) -> tuple[float, float, float]:
        """Seconds and loss of the next step, and the peak memory so far, GB."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        seconds, loss, peak = map(float, self.process.stdout.readline().split())
        return seconds, loss, peak

    def close(self) -> None:
        """Let it end."""
        self.process.communicate()


def serve(options: argparse.Namespace) -> None:
    """Be a side: a step for each line of the input."""
    (name, precision, path), now = options.serve, CLOCKS[options.clock]
    if name == "ours":
        keep_pages()
    fed = batches(options, options.rounds + 1)
    before = resident("VmRSS")
    modules, step = SIDES[name](options, precision)
    for number, (_, (clips, masks)) in enumerate(zip(sys.stdin, fed, strict=False)):
        began = now()
        loss = step(clips, masks)
        spent, peak = now() - began, resident("VmHWM") - before
        if number == 0:
            torch.save(gradients(modules), path)
        print(spent, loss, peak, flush=True)


def gradients(modules: dict[str, nn.Module]) -> dict[str, Tensor]:
    """The last step's gradient of each weight but mask tokens: the official predictor has ten of them."""
    named = (
        (f"{part}.{name}", p) for part, module in modules.items() for name, p in module.named_parameters()
    )
    return {name: p.grad for name, p in named if p.grad is not None and "mask_token" not in name}


def check_equal(sides: dict[str, Side], losses: list[float], precision: str) -> float:
    """The largest relative difference of a weight's gradient; SystemExit where losses or gradients differ."""
    ours, theirs = (torch.load(side.gradients) for side in sides.values())
    assert ours.keys() == theirs.keys(), ours.keys() ^ theirs.keys()
    far = {name: float((ours[name] - theirs[name]).norm() / theirs[name].norm()) for name in theirs
           if theirs[name].norm() > 1e-7}  # fmt: skip
    name = max(far, key=lambda one: far[one])
    if abs(losses[0] / losses[1] - 1) > TOLERANCE[precision] or far[name] > TOLERANCE[precision]:
        raise SystemExit(
            f"{precision}: not the same step: losses {losses}, gradient of {name} by {far[name]:.1e}"
        )
    return far[name]


def take_turns(options: argparse.Namespace, precision: str) -> dict[str, np.ndarray]:
    """Seconds, loss and peak memory (rounds + 1, 3) of each side; the first round warms up."""
    rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        sides = {name: Side(name, precision, Path(folder)) for name in SIDES}
        for number in range(options.rounds + 1):
            for name, side in sides.items():
                rows[name].append(side.step())
            if number == 0:
                far = check_equal(sides, [rows[name][0][1] for name in SIDES], precision)
                print(f"{precision}: first losses equal, gradients to {far:.0e}", flush=True)
        for side in sides.values():
            side.close()
    return {name: np.array(found) for name, found in rows.items()}


@contextmanager
def timed(seconds: dict[str, float], name: str, now: Clock) -> Iterator[None]:
    """Add the time within to a part's."""
    began = now()
    yield
    seconds[name] = seconds.get(name, 0.0) + now() - began


def parts(
    options: argparse.Namespace, precision: str, fed: list[tuple[Tensor, list[Mask]]]
) -> dict[str, float]:
    """Seconds a step of our parts, mean over steps after the first; the sum is a step's."""
    model = make_model(options.size, options.width, options.depth)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], RATE, fused=True)
    seconds: dict[str, float] = {}
    now = CLOCKS[options.clock]
    raw = torch.randint(0, 256, fed[0][0].shape, dtype=torch.uint8)
    for number, (_, masks) in enumerate(fed):
        if number == 1:
            seconds.clear()
        with timed(seconds, "prepare clips", now):
            clips = prepare(SPEC, raw)
        losses = []
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            with timed(seconds, "target pass", now):
                targets = model.targets(clips, masks)
            for mask, target in zip(masks, targets, strict=True):
                with timed(seconds, "context passes", now):
                    context = model.encoder(clips, mask.context_ids)
                with timed(seconds, "predictor", now):
                    predicted = model.predictor(context, mask.context_ids, mask.target_ids)
                    losses.append(F.l1_loss(predicted, target))
        with timed(seconds, "backward", now):
            torch.stack(losses).mean().backward()
        with timed(seconds, "optimiser", now):
            optimizer.step()
        with timed(seconds, "EMA", now):
            model.update_ema(MOMENTUM)
        optimizer.zero_grad(set_to_none=True)
    return {name: value / (len(fed) - 1) for name, value in seconds.items()}


def product_rate(options: argparse.Namespace, precision: str) -> float:
    """GFLOP/s of plain matrix products of the encoder's shapes over a whole batch, fastest of ten."""
    row, dtype = SIZES[options.size], torch.bfloat16 if precision == "bf16" else torch.float32
    tokens = options.batch * int(np.prod(Architecture(options.size).grid(SPEC)))
    spent, flops = 0.0, 0
    for inner, outer in ((row.width, 3 * row.width), (row.width, row.hidden), (row.hidden, row.width)):
        x, weight = torch.randn(tokens, inner).to(dtype), torch.randn(outer, inner).to(dtype)
        times = []
        for _ in range(10):
            began = CLOCKS[options.clock]()
            F.linear(x, weight)
            times.append(CLOCKS[options.clock]() - began)
        spent, flops = spent + min(times), flops + 2 * tokens * inner * outer
    return flops / spent / 1e9


def show_parts(options: argparse.Namespace, precision: str, fed: list[tuple[Tensor, list[Mask]]]) -> None:
    """Print where our time goes, and how much of a step is no matrix product."""
    model = make_model(options.size, options.width, options.depth)
    flops = sum(model.flops(masks) for _, masks in fed[1:]) / (len(fed) - 1) * options.batch
    found, rate = parts(options, precision, fed), product_rate(options, precision)
    whole = sum(found.values())
    idle = 1 - flops / 1e9 / rate / whole
    print(f"{precision}: {whole:.2f} s a step, {options.batch / whole:.2f} clips/s", end=", ")
    print(f"{flops / whole / 1e9:.0f} GFLOP/s; plain products reach {rate:.0f}: {idle:.0%} of it is none")
    for name, value in found.items():
        print(f"  {name:16} {value:6.3f} s  {value / whole:4.0%}")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", type=Path, help="a checkout of facebookresearch/vjepa2")
    parser.add_argument("--size", default="small", choices=list(SIZES))
    parser.add_argument("--width", type=int, default=192, help="of the predictor")
    parser.add_argument("--depth", type=int, default=12, help="of the predictor")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--precisions", nargs="+", default=["bf16", "float32"])
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure and print; the last line has the ratios that matter."""
    options = parse()
    torch.set_num_threads(options.threads)
    if options.serve:
        serve(options)
        return
    keep_pages()
    fed = batches(options, options.rounds + 1)
    for precision in options.precisions:
        show_parts(options, precision, fed)
    if not options.peer:
        return
    words, shares = [], []
    for precision in options.precisions:
        rows = take_turns(options, precision)
        seconds = {name: found[1:, 0] for name, found in rows.items()}
        every, ratio = seconds["theirs"] / seconds["ours"], seconds["theirs"].min() / seconds["ours"].min()
        rates = {name: options.batch / values.min() for name, values in seconds.items()}
        peaks = {name: found[-1, 2] for name, found in rows.items()}
        print(f"{precision}: ours {rates['ours']:.2f}, theirs {rates['theirs']:.2f} clips/s", end=": ")
        print(f"{ratio:.2f} times (rounds {every.min():.2f} to {every.max():.2f})", end="; ")
        print(f"peak {peaks['ours']:.2f} and {peaks['theirs']:.2f} GB", flush=True)
        words.append(f"{precision}={ratio:.2f}")
        shares.append(peaks["ours"] / peaks["theirs"])
    print(" ".join(words), f"memory={max(shares):.2f}")


if __name__ == "__main__":
    main()
