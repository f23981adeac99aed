"""EchoPrime and PanEcho against torchvision's and torch's own modules, under the published key names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from echojepa.backbones.echoprime import EchoPrime
from echojepa.backbones.loading import load_backbone
from echojepa.backbones.panecho import PanEcho
from echojepa.config import InputSpec
from echojepa.models.contract import fit, resize
from echojepa.weights.tensors import CheckpointError

torchvision = pytest.importorskip("torchvision")
CLIPS = torch.randint(
    0, 256, (1, 3, 16, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


@pytest.fixture(scope="module")
def mvit() -> nn.Module:
    torch.manual_seed(1)
    model = torchvision.models.video.mvit_v2_s()
    model.head[1] = nn.Linear(768, 512)
    return model.eval()


@pytest.fixture(scope="module")
def two_encoders() -> tuple[nn.Module, nn.TransformerEncoder]:
    torch.manual_seed(2)
    convnext = torchvision.models.convnext_tiny()
    convnext.classifier[-1] = nn.Identity()
    layer = nn.TransformerEncoderLayer(768, 8, 768, dropout=0.0, activation="relu", batch_first=True)
    return convnext.eval(), nn.TransformerEncoder(layer, 4, enable_nested_tensor=False).eval()


def panecho_file(two: tuple[nn.Module, nn.TransformerEncoder]) -> dict[str, dict[str, Tensor]]:
    weights = {f"encoder.encoder.model.{key}": value for key, value in two[0].state_dict().items()}
    weights |= {f"encoder.transformer.{key}": value for key, value in two[1].state_dict().items()}
    weights |= {"encoder.time_encoder.pe": torch.zeros(1, 16, 768), "EF_head.1.weight": torch.zeros(1, 768),
                "EF_head.1.bias": torch.zeros(1)}  # fmt: skip
    return {"weights": weights}


def count(tensors: dict[str, Tensor], prefix: str = "") -> int:
    return sum(value.numel() for key, value in tensors.items() if key.startswith(prefix))


def test_echoprime_s_vector_and_tokens_equal_torchvision(mvit: nn.Module, tmp_path: Path) -> None:
    state = mvit.state_dict()
    assert (count(state), len(state)) == (34_623_872, 397)
    torch.save(state, tmp_path / "echo_prime_encoder.pt")
    backbone = load_backbone(tmp_path / "echo_prime_encoder.pt")
    output = backbone(CLIPS)
    mean = torch.tensor([29.110628, 28.076836, 29.096405]).view(1, 3, 1, 1, 1)
    std = torch.tensor([47.989223, 46.456997, 47.20083]).view(1, 3, 1, 1, 1)
    last: list[Tensor] = []
    mvit.norm.register_forward_hook(lambda module, inputs, result: last.append(result))
    with torch.no_grad():
        vector = mvit((CLIPS.float() - mean) / std)
    torch.testing.assert_close(output.pooled.clone(), vector, atol=1e-4, rtol=1e-4)
    assert output.tokens.shape == (1, 392, 768) and output.grid == (8, 7, 7)
    torch.testing.assert_close(output.tokens.clone(), last[0][:, 1:], atol=1e-4, rtol=1e-4)


def test_panecho_equals_its_published_composition(
    two_encoders: tuple[nn.Module, nn.TransformerEncoder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On pictures of 64 pixels: its convolutions take any, and its tokens have none of the place in them."""
    monkeypatch.setattr(PanEcho, "fed", replace(PanEcho.fed, size=64, resized=73))
    clips = CLIPS[..., :64, :64]
    content = panecho_file(two_encoders)
    assert count(content["weights"], "encoder.encoder.model.") == 27_820_128
    assert count(content["weights"], "encoder.transformer.") == 14_186_496
    torch.save(content, tmp_path / "panecho.pt")
    output = load_backbone(tmp_path / "panecho.pt")(clips)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1, 1)
    planes = ((clips / 255 - mean) / std)[0].reshape(48, 64, 64)
    pictures = torch.stack([torch.stack([planes[3 * i + j] for j in range(3)]) for i in range(16)])
    time, channel = np.arange(16)[:, None], np.arange(0, 768, 2)[None]
    table = np.zeros((16, 768), dtype=np.float32)
    table[:, 0::2] = np.sin(time / 10000 ** (channel / 768))
    table[:, 1::2] = np.cos(time / 10000 ** (channel / 768))
    with torch.no_grad():
        tokens = two_encoders[1](two_encoders[0](pictures)[None] + torch.from_numpy(table))
    assert output.tokens.shape == (1, 16, 768)
    torch.testing.assert_close(output.tokens.clone(), tokens, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(output.pooled.clone(), tokens.mean(1), atol=1e-4, rtol=1e-4)


def test_files_that_do_not_fit_are_refused(
    mvit: nn.Module, two_encoders: tuple[nn.Module, nn.TransformerEncoder], tmp_path: Path
) -> None:
    state = dict(mvit.state_dict())
    state["head.1.weight"] = torch.zeros(400, 768)
    torch.save(state, tmp_path / "kinetics.pt")
    with pytest.raises(CheckpointError, match="400, 768"):
        load_backbone(tmp_path / "kinetics.pt")
    content = panecho_file(two_encoders)
    del content["weights"]["encoder.transformer.layers.3.norm2.bias"]
    torch.save(content, tmp_path / "panecho.pt")
    with pytest.raises(CheckpointError, match=r"layers\.3\.norm2\.bias"):
        load_backbone(tmp_path / "panecho.pt")


def test_inputs_are_the_published_ones() -> None:
    """EchoPrime: a tenth off each side, 16 frames two apart, on 0..255. PanEcho: 256 to 224, consecutive."""
    assert (EchoPrime.fed.stride, EchoPrime.fed.frames, EchoPrime.fed.value_max) == (2, 16, 255)
    assert (PanEcho.fed.stride, PanEcho.fed.frames, PanEcho.fed.value_max) == (1, 16, 1)
    ramp = torch.arange(200, dtype=torch.uint8).expand(1, 1, 200, 200)
    fitted = fit(EchoPrime.fed, ramp)[0, 0, 112].float()
    inner = torch.nn.functional.interpolate(
        ramp[..., 20:180, 20:180].float(), size=(224, 224), mode="bicubic"
    )
    assert fitted.shape == (224,) and (fitted - inner[0, 0, 112]).abs()[2:-2].max() <= 1
    marked = torch.zeros(1, 1, 256, 256, dtype=torch.uint8)
    marked[..., 16:240, 16:240] = 200
    assert (fit(PanEcho.fed, marked) == 200).all() and fit(PanEcho.fed, marked).shape[-1] == 224


def test_area_resizing_is_the_mean_of_what_a_pixel_covers() -> None:
    picture = torch.randint(
        0, 256, (2, 1, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(5)
    )
    fine = picture.double().repeat_interleave(7, -1).repeat_interleave(7, -2)
    expected = nn.functional.avg_pool2d(fine, 12)
    assert (resize(picture, 7, "area").double() - expected).abs().max() <= 0.5 + 1e-4
    with pytest.raises(ValueError, match="either seconds or stride"):
        InputSpec(stride=2)
