"""The only place that knows of ranks and collectives: one process, or those that torchrun started.

Everything that a step computes with is a function of (config, step); ranks only take turns at the clips of a
batch, in order. So one process and several are the same run, and a run goes on with another number of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from echojepa.errors import UserError
from echojepa.models.vit import Block

PATIENCE = timedelta(minutes=10)
"""How long a rank waits for the others: longer than a checkpoint takes, and not forever."""


class LostRankError(UserError):
    """Another process of the job ended; its own error says why."""


@dataclass(frozen=True)
class World:
    """The processes of a job, seen from one of them."""

    rank: int
    ranks: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def share(self, items: int) -> slice:
        """The items of this rank: consecutive, as many for each; ValueError where that cannot be."""
        if items % self.ranks:
            raise ValueError(f"{items} clips cannot be shared by {self.ranks} processes")
        each = items // self.ranks
        return slice(self.rank * each, (self.rank + 1) * each)

    def sum(self, values: Sequence[float]) -> list[float]:
        """The sums of each rank's values, the same on all ranks."""
        if self.ranks == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return total.tolist()

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, on all ranks; for small plain things."""
        if self.ranks == 1:
            return [value]
        found = [None] * self.ranks
        dist.all_gather_object(found, value)
        return found

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.ranks > 1:
            dist.barrier()


def speaks() -> bool:
    """Whether this process is the one of its job that prints; known before the job has joined."""
    return int(os.environ.get("RANK", "0")) == 0


def pick_device() -> torch.device:
    """This process' GPU, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


@contextmanager
def joined() -> Iterator[World]:
    """This process among those that torchrun started, or alone.

    Raises LostRankError where another one ended: torchrun then prints the error of the first to fail.
    """
    device, ranks = pick_device(), int(os.environ.get("WORLD_SIZE", "1"))
    if ranks == 1:
        yield World(0, 1, device)
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE)
    rank = dist.get_rank()
    try:
        yield World(rank, ranks, device)
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise LostRankError(
                f"process {rank} of {ranks} lost another process, whose own error is printed too. Start "
                "the job again: it resumes from its last checkpoint"
            ) from error
        raise
    dist.destroy_process_group()


def distribute(
    model: nn.Module, how: Literal["replicate", "shard"], world: World, precision: torch.dtype
) -> nn.Module:
    """What is called in the model's place: itself alone, under DDP, or with its parts sharded by FSDP2.

    Encoder, predictor and target encoder are sharded each on its own, block by block, so that each can be
    called alone. Gathered weights have `precision`, gradients are summed in float32.
    """
    if world.ranks == 1:
        return model
    if how == "replicate":
        return DistributedDataParallel(model, broadcast_buffers=False)
    mesh = init_device_mesh(world.device.type, (world.ranks,))
    policy = MixedPrecisionPolicy(param_dtype=precision, reduce_dtype=torch.float32)
    for part in model.children():
        for layer in part.modules():
            if isinstance(layer, Block):
                fully_shard(layer, mesh=mesh, mp_policy=policy)
        # without True, what belongs to no block stays whole after a pass that has no backward: the target's
        fully_shard(part, mesh=mesh, mp_policy=policy, reshard_after_forward=True)
    return model


@contextmanager
def last_backward(runner: nn.Module, last: bool) -> Iterator[None]:
    """Within a step of several backward passes, let gradients cross the network in the last one only."""
    for part in runner.children():
        if isinstance(part, FSDPModule):
            part.set_requires_gradient_sync(last)
    if isinstance(runner, DistributedDataParallel) and not last:
        with runner.no_sync():
            yield
    else:
        yield


def gradient_norm(model: nn.Module) -> float:
    """The length of the whole model's gradient; a collective where it is sharded."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return whole(nn.utils.get_total_norm(gradients)).item()


def whole(tensor: Tensor) -> Tensor:
    """A tensor with all its shards."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole_state(module: nn.Module) -> dict[str, Tensor]:
    """A module's tensors with all their shards; a collective where there are any."""
    return {name: whole(value.detach()) for name, value in module.state_dict().items()}
