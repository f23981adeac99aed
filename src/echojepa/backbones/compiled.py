"""A frozen video transformer compiled for the CPU by OpenVINO: float32, bf16 or int8.

Int8 has integer weights, one scale an output channel, and integer activations, whose scales (one a token
and group of channels) are found while it runs: no clips are needed to prepare it. Attention and norms stay
in bf16.
"""

from __future__ import annotations

import importlib
import math
import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from echojepa.backbones.contract import Backbone
from echojepa.backbones.transformer import VideoTransformer
from echojepa.config import InputSpec, Precision
from echojepa.errors import UserError
from echojepa.models.contract import TokenGrid
from echojepa.models.vit import VisionTransformer

HINTS: dict[Precision, str] = {"float32": "f32", "bf16": "bf16", "int8": "bf16"}
"""OpenVINO's arithmetic outside of integer products."""


def openvino() -> Any:
    """The library; UserError where it is not installed.

    It would report its use to a server on import. A hospital's machine tells nobody: where its module for
    that cannot be imported, it falls back to one of its own that does nothing.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType]
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise UserError(
            "the openvino engine needs OpenVINO, which cannot be imported; run: pip install 'echojepa[fast]'"
        ) from error


def quantise_weights(model: Any) -> None:
    """Make every large matrix of a graph int8, symmetric, one scale an output channel, in place.

    The pattern (int8 constant, converted, times a scale) is what OpenVINO's CPU plugin multiplies in
    integers when it is allowed to quantise activations.
    """
    opset = importlib.import_module("openvino.opset13")
    for node in model.get_ordered_ops():
        if node.get_type_name() != "MatMul" or node.input_value(1).get_node().get_type_name() != "Constant":
            continue
        constant = node.input_value(1).get_node()
        matrix = constant.get_data()
        inner = 1 if node.get_attributes()["transpose_b"] else 0
        scale = np.maximum(np.abs(matrix).max(axis=inner, keepdims=True), 1e-12) / 127
        whole = opset.convert(opset.constant(np.round(matrix / scale).astype(np.int8)), np.float32)
        scaled = opset.multiply(whole, opset.constant(scale.astype(np.float32)))
        node.input(1).replace_source_output(scaled.output(0))


def compile_encoder(encoder: VisionTransformer, spec: InputSpec, precision: Precision, threads: int) -> Any:
    """OpenVINO's compiled model of an encoder, for one prepared clip; `threads` 0 leaves the number to it."""
    library = openvino()
    example = torch.zeros(1, 3, spec.frames, spec.size, spec.size)
    with torch.no_grad():
        model = library.convert_model(torch.export.export(encoder, (example,)))
    model.reshape(list(example.shape))
    options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": HINTS[precision], "NUM_STREAMS": 1}
    if precision == "int8":
        quantise_weights(model)
        rows = math.gcd(encoder.width, encoder.hidden)  # matrices of the blocks multiply rows of both lengths
        options["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = str(rows)
    if threads:
        options["INFERENCE_NUM_THREADS"] = threads
    return library.Core().compile_model(model, "CPU", options)


class CompiledTransformer(Backbone):
    """A VideoTransformer whose encoder OpenVINO runs, one clip at a time."""

    def __init__(self, source: VideoTransformer, precision: Precision, threads: int = 0) -> None:
        name = f"{source.name} ({precision}, OpenVINO)"
        rest = source.pool_norm or nn.Identity()  # the encoder's own weights are not needed any more
        super().__init__(name, rest, source.spec, source.embed_dim, source.sha256)
        self.random = source.random
        self.parameters = source.parameters
        self.device = torch.device("cpu")
        self.network.cpu()
        self.grid, self.pool_norm = source.encoder.grid, source.pool_norm
        self.model = compile_encoder(source.encoder.cpu(), source.spec, precision, threads)

    def features(self, pixels: Tensor) -> TokenGrid:
        """Tokens of prepared clips."""
        clips = pixels.cpu().split(1)
        tokens = torch.cat([torch.from_numpy(self.model(clip.numpy())[0].copy()) for clip in clips])
        vector = self.pool_norm(tokens.mean(dim=1)) if self.pool_norm else None
        return TokenGrid(tokens, self.grid, vector)
