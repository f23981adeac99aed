"""What training computes on, and in which precision: runs on unlike machines are not alike to the bit."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

INSTRUCTIONS = {
    "amx_bf16": "AMX", "avx512_bf16": "AVX-512 with bf16", "avx512_f": "AVX-512", "avx2": "AVX2",
}  # fmt: skip
"""A CPU's widest, by PyTorch's names for them: the first that it has."""


def working_dtype(precision: str, device: torch.device) -> torch.dtype:
    """What matrix products compute in: bf16 where asked for, or where the device has instructions for it
    and precision is auto; float32 otherwise."""
    if precision == "auto":
        capable = (
            torch.cuda.is_bf16_supported()
            if device.type == "cuda"
            else bool(torch.cpu.get_capabilities().get("avx512_bf16"))
        )
        precision = "bf16" if capable else "float32"
    return torch.bfloat16 if precision == "bf16" else torch.float32


def computed_on(device: torch.device, dtype: torch.dtype) -> str:
    """The device and the precision of its matrix products, in words."""
    precision = "bf16" if dtype == torch.bfloat16 else "float32"
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {precision}"
    able = torch.cpu.get_capabilities()
    widest = next((said for name, said in INSTRUCTIONS.items() if able.get(name)), "no AVX2")
    return f"{cpu_name()} ({widest}), {precision}"


def went_on(before: tuple[str, ...], here: str) -> tuple[str, ...]:
    """All that a run was computed on, in order, once it has gone on here."""
    return before if before[-1:] == (here,) else (*before, here)


def cpu_name() -> str:
    """The CPU's name where the system tells it, or its kind."""
    told = Path("/proc/cpuinfo")
    if told.is_file():
        for line in told.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()
