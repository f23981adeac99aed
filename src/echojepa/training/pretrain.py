"""Pretraining as one function: build, resume, loop, save."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from echojepa.config import ConfigError, PretrainConfig, config_to_json
from echojepa.data.clips import Augment, ClipDataset
from echojepa.data.store import LoopStore
from echojepa.models.jepa import JEPA
from echojepa.models.masking import sample_mask
from echojepa.models.objective import Objective
from echojepa.models.predictor import Predictor, PredictorShape
from echojepa.models.videomae import VideoMAE
from echojepa.models.vit import VisionTransformer
from echojepa.randomness import derive_seed
from echojepa.training.checkpoint import load_state, load_strictly, save_state
from echojepa.training.monitors import FeatureHealth, cheap_probe, feature_health, warnings_of
from echojepa.training.schedules import ema_momentum, learning_rate
from echojepa.training.weights import Origin, save_weights, weights_of
from echojepa.vocabulary import Kind, Split

MONITOR_CLIPS = 96


@dataclass(frozen=True)
class PretrainSummary:
    """What a finished run was."""

    steps: int
    clips: int
    loops: int
    loss: float
    warnings: tuple[str, ...]


def generator_for(seed: int, purpose: str, *numbers: int) -> torch.Generator:
    """A generator that belongs to (seed, purpose, numbers)."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, *numbers))


def build_encoder(config: PretrainConfig) -> VisionTransformer:
    """The encoder before any training, a function of the config's seed alone."""
    return VisionTransformer(config.architecture, config.spec, generator_for(config.seed, "encoder"))


def build_objective(config: PretrainConfig) -> Objective:
    """Encoder and predictor before any training, under the config's objective."""
    encoder, architecture = build_encoder(config), config.architecture
    pixels = 3 * architecture.tubelet * architecture.patch**2
    shape = PredictorShape(
        config.predictor_width,
        config.predictor_depth,
        config.predictor_heads,
        outputs=pixels if config.objective == "videomae" else encoder.width,
    )
    predictor = Predictor(
        encoder.width,
        encoder.grid,
        shape,
        architecture.position,
        generator_for(config.seed, "predictor"),
        architecture.trained_side,
    )
    return VideoMAE(encoder, predictor) if config.objective == "videomae" else JEPA(encoder, predictor)


def build_optimizer(model: Objective, config: PretrainConfig) -> torch.optim.AdamW:
    """AdamW over encoder and predictor; biases and norms are not decayed."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.optim.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.optim.lr, betas=(0.9, config.optim.beta2), fused=True)


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """bf16 autocast where asked for, or where the processor has the instructions and precision is auto."""
    if precision == "auto":
        capable = (
            torch.cuda.is_bf16_supported()
            if device.type == "cuda"
            else bool(torch.cpu.get_capabilities().get("avx512_bf16"))
        )
        precision = "bf16" if capable else "float32"
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def batch_order(loops: int, config: PretrainConfig, start: int) -> Iterator[list[tuple[int, int]]]:
    """Keys (epoch, loop) of each step's clips from step `start` on: a function of (seed, epoch) alone."""
    drawn, order = -1, torch.empty(0)
    for step in range(start, config.steps):
        batch = []
        for position in range(step * config.batch_size, (step + 1) * config.batch_size):
            epoch, place = divmod(position, loops)
            if epoch != drawn:
                order = torch.randperm(loops, generator=generator_for(config.seed, "order", epoch))
                drawn = epoch
            batch.append((epoch, int(order[place])))
        yield batch


def train_step(
    model: Objective, optimizer: torch.optim.Optimizer, clips: Tensor, config: PretrainConfig, step: int
) -> dict[str, float]:
    """One step on uint8 clips (B, 3, T, H, W): forward, backward, optimiser, and what follows it."""
    draws = generator_for(config.seed, "mask", step)
    drawn = [sample_mask(mask, model.encoder.grid, len(clips), draws) for mask in config.masks]
    masks = [mask.to(clips.device) for mask in drawn]
    rate = learning_rate(config.optim, step, config.steps)
    momentum = ema_momentum(config.optim, step, config.steps)
    with autocast(config.precision, clips.device):
        loss = model(config.spec.prepare(clips), masks)
    loss.backward()
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    model.after_step(momentum)
    if not loss.isfinite():
        raise ConfigError(f"the loss is not a number at step {step}; lower optim.lr (now {config.optim.lr})")
    return {
        "loss": loss.item(),
        "lr": rate,
        "momentum": momentum,
        "redraws": sum(mask.redraws for mask in masks),
    }


class Monitor:
    """Looks at the kept encoder's features of fixed training clips every now and then."""

    def __init__(
        self, dataset: ClipDataset, views: list[str | None], patients: list[str], device: torch.device
    ) -> None:
        chosen = torch.linspace(0, len(dataset) - 1, min(MONITOR_CLIPS, len(dataset))).round().long().tolist()
        self.clips = torch.stack([dataset[i][0] for i in chosen]).to(device)
        self.views = [views[i] or "" for i in chosen]
        self.patients = [patients[i] for i in chosen]
        self.first: FeatureHealth | None = None

    @torch.no_grad()
    def __call__(self, encoder: nn.Module, config: PretrainConfig) -> tuple[dict[str, float], list[str]]:
        """Measurements to log, and warnings in words."""
        features = torch.cat([encoder(config.spec.prepare(part)).cpu() for part in self.clips.split(16)])
        health = feature_health(features)
        self.first = self.first or health
        measured = asdict(health)
        if len(set(self.views)) > 1 and len(set(self.patients)) >= 5:
            measured["view_probe"] = cheap_probe(features, self.views, self.patients)
        return measured, warnings_of(health, self.first)


def open_run(config: PretrainConfig) -> None:
    """Make the run folder, or make sure that the one there is of this very config."""
    config.out.mkdir(parents=True, exist_ok=True)
    record, text = config.out / "config.json", config_to_json(config)
    if not record.exists():
        record.write_text(text, encoding="utf-8")
    elif record.read_text(encoding="utf-8") != text:
        raise ConfigError(
            f"{config.out} holds a run with other settings (see its config.json); give another --out, "
            "or delete the folder to start over"
        )


def resume(model: Objective, optimizer: torch.optim.Optimizer, folder: Path) -> int:
    """Load the last checkpoint, drop metrics written after it, and return the next step."""
    checkpoint, metrics = folder / "checkpoint.pt", folder / "metrics.jsonl"
    step = 0
    if checkpoint.exists():
        state = load_state(checkpoint)
        load_strictly(model, state["model"], checkpoint.name)
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
    lines = metrics.read_text(encoding="utf-8").splitlines() if metrics.exists() else []
    kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] < step]
    metrics.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    return step


def first_health(folder: Path) -> FeatureHealth | None:
    """The run's first measurement, from its log: what a resumed run goes on comparing with."""
    for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if "effective_rank" in record:
            return FeatureHealth(record["effective_rank"], record["spread"], record["cosine"])
    return None


def training_loops(store: LoopStore) -> list[dict[str, Any]]:
    """Row, view and patient of training patients' cine loops: test patients stay new to the encoder."""
    table = store.metadata(["split", "kind", "view", "patient_id"]).to_pylist()
    return [
        entry | {"row": row}
        for row, entry in enumerate(table)
        if entry["split"] == Split.TRAIN and entry["kind"] == Kind.CINE
    ]


def pretrain(config: PretrainConfig, progress: Callable[[int, int, str], None]) -> PretrainSummary:
    """Run or resume pretraining; calls progress(steps done, steps, state in words).

    Raises ConfigError for a folder of another run or a data set without training loops.
    """
    open_run(config)
    store = LoopStore.open(config.data)
    table = training_loops(store)
    rows = [entry["row"] for entry in table]
    if len(rows) < 3:
        raise ConfigError(f"{config.data} has {len(rows)} training cine loops; at least 3 are needed")
    dataset = ClipDataset(store, rows, config.spec, augment=Augment(), seed=config.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    monitor = Monitor(
        ClipDataset(store, rows, config.spec),
        [entry["view"] for entry in table],
        [entry["patient_id"] for entry in table],
        device,
    )
    model = build_objective(config).to(device)
    optimizer = build_optimizer(model, config)
    start = resume(model, optimizer, config.out)
    monitor.first = first_health(config.out)
    loader = DataLoader(dataset, batch_sampler=list(batch_order(len(rows), config, start)))
    told: dict[str, None] = {}
    loss = float("nan")
    with (config.out / "metrics.jsonl").open("a", encoding="utf-8") as metrics:
        for step, (clips, _) in enumerate(loader, start=start):
            began = time.perf_counter()
            record: dict[str, float | list[str]] = {"step": step}
            if step % config.monitor_every == 0:
                measured, warnings = monitor(model.result, config)
                record |= measured
                if warnings:
                    record["warnings"] = warnings
                told |= dict.fromkeys(warnings)
            measured = train_step(model, optimizer, clips.to(device), config, step)
            record |= measured
            loss = measured["loss"]
            record["seconds"] = round(time.perf_counter() - began, 4)
            metrics.write(json.dumps(record) + "\n")
            metrics.flush()
            progress(step + 1, config.steps, f"loss {loss:.3f}")
            if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps:
                save_state(
                    config.out / "checkpoint.pt",
                    {"step": step + 1, "model": model.state_dict(), "optimizer": optimizer.state_dict()},
                )
    clips_seen = config.steps * config.batch_size
    origin = Origin(config.objective, config.steps, clips_seen, store.fingerprint())
    save_weights(
        config.out, weights_of(model.result, config.architecture, config.spec, origin, model.predictor)
    )
    return PretrainSummary(config.steps, clips_seen, len(rows), loss, tuple(told))
