"""What a run is watched by, with the clips that it is watched on: fixed ones of training patients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pyarrow as pa
import torch

from echojepa.config import PretrainConfig
from echojepa.data.clips.clips import ClipDataset
from echojepa.data.store.loop_store import LoopStore
from echojepa.models.building import generator_for
from echojepa.models.masking import sample_mask
from echojepa.models.objective import Objective
from echojepa.training.distributed import World
from echojepa.training.foresight import Foresight, measure_foresight
from echojepa.training.monitors import Monitor, monitored_loops

MONITOR_CLIPS, FORESIGHT_CLIPS = 96, 32
"""Clips whose features are looked at, and those of them that are predicted, too, at four times the cost."""


def make_monitors(
    store: LoopStore, table: pa.Table, config: PretrainConfig, world: World
) -> tuple[Monitor, Callable[[Objective], Foresight | None]]:
    """The monitor of features and that of the loss, of training loops (`row`, `patient_ordinal`)."""
    rows = table["row"].to_numpy()[monitored_loops(table["patient_ordinal"].to_numpy(), MONITOR_CLIPS)]
    columns = ["view", "patient_id", "height", "pixel_height_mm"]
    known = store.table.take(rows, columns=columns).to_pydict()
    dataset = ClipDataset(store, rows, config.spec)
    clips = torch.stack([dataset[i][0] for i in range(len(dataset))]).to(world.device)
    tall = zip(known["height"], known["pixel_height_mm"], strict=True)
    depths = [height * scale if scale else float("nan") for height, scale in tall]
    monitor = Monitor(clips, [view or "" for view in known["view"]], known["patient_id"], config.spec, depths)
    few = clips[:: max(1, len(clips) // FORESIGHT_CLIPS)][:FORESIGHT_CLIPS]
    draws, grid = generator_for(config.seed, "foresight"), config.architecture.grid(config.spec)
    masks = [sample_mask(mask, grid, len(few), draws).to(world.device) for mask in config.masks]
    order = torch.randperm(config.spec.frames, generator=draws).to(world.device)
    return monitor, partial(measure_foresight, spec=config.spec, clips=few, masks=masks, order=order)
