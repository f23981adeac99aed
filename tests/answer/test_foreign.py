"""Weights of others with heads of their own answer as theirs do, with intervals of one's own patients."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import small_mvit
from safetensors.torch import save_file
from torch import Tensor, nn

from echojepa.answer.assemble import assemble
from echojepa.answer.model import load_model
from echojepa.answer.predict import predict
from echojepa.backbones.echoprime import EchoPrime
from echojepa.backbones.heads import OFFICIAL, HeadFile, WeightsWithHeads
from echojepa.backbones.loading import load_backbone
from echojepa.backbones.panecho import PanEcho
from echojepa.config import AssembleConfig, InputSpec, ProbeConfig
from echojepa.config.commands import save_config
from echojepa.data.clips.clips import ClipDataset
from echojepa.data.store.loop_store import LoopStore
from echojepa.errors import UserError
from echojepa.evaluation import scoring
from echojepa.evaluation.probes.own import own_head
from echojepa.evaluation.protocol.plans import OWN_HEAD, Plan, PlanBlock
from echojepa.evaluation.run import PlanRun
from echojepa.files.records import write_record
from echojepa.models.contract import prepare
from echojepa.progress import quiet
from echojepa.tasks import LVEF, VIEW, Task

from .conftest import ALPHA, Made

torchvision = pytest.importorskip("torchvision")
SMALL = InputSpec(size=32, frames=4, seconds=None, stride=1, resized=36, interpolation="area")
"""PanEcho's input, smaller, and clips of four frames: its authors take any number."""


class Theirs(nn.Module):
    """PanEcho as its authors put it together: an encoder of frames, one of clips, and a layer a task."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.convnext = torchvision.models.convnext_tiny()
        self.convnext.classifier[-1] = nn.Identity()
        layer = nn.TransformerEncoderLayer(768, 8, 768, dropout=0.0, activation="relu", batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.heads = nn.ModuleDict({name: nn.Linear(768, 1) for name in ("EF", "GLS")})
        self.eval()

    def saved(self) -> dict[str, dict[str, Tensor]]:
        """Their file."""
        parts = (("encoder.encoder.model.", self.convnext), ("encoder.transformer.", self.transformer))
        kept = {prefix + key: value for prefix, part in parts for key, value in part.state_dict().items()}
        for name, head in self.heads.items():
            kept |= {f"{name}_head.1.{key}": value for key, value in head.state_dict().items()}
        return {"weights": kept | {"encoder.time_encoder.pe": times()}}

    @torch.no_grad()
    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        """Prepared clips (B, 3, 16, H, W) -> values (B, 1) of each head."""
        batch, channels, frames, height, width = clips.shape
        pictures = clips.reshape(batch * frames, channels, height, width)
        tokens = self.convnext(pictures).reshape(batch, frames, 768) + times()[:, :frames]
        vector = self.transformer(tokens).mean(1)
        return {name: head(vector) for name, head in self.heads.items()}


def times() -> Tensor:
    """Their fixed table (1, 16, 768)."""
    position = torch.arange(16).unsqueeze(1)
    rates = torch.exp(torch.arange(0, 768, 2) * (-np.log(10000.0) / 768))
    table = torch.zeros(1, 16, 768)
    table[0, :, 0::2], table[0, :, 1::2] = torch.sin(position * rates), torch.cos(position * rates)
    return table


@pytest.fixture(scope="module")
def theirs() -> Theirs:
    return Theirs()


def assembled(made: Made, weights: Path, out: Path) -> Path:
    """A model of what the weights' own head of LVEF says, calibrated on the shared data set."""
    settings = ProbeConfig(
        data=(made.dataset,), out=out / "results", backbones=(str(weights),), resamples=2,
        tasks=("lvef",), probes=(OWN_HEAD,), calibrated=True,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "ALPHA", ALPHA)
        PlanRun(Plan("probe", (PlanBlock((LVEF,), (OWN_HEAD,), calibrated=True),)), settings).run(quiet)
    save_config(settings)
    where = AssembleConfig(out / "results", str(weights), out / "model", tasks=("lvef",), probes=(OWN_HEAD,))
    assemble(where, quiet)
    return out / "model"


def clips_of_the_tested(made: Made, spec: InputSpec) -> Tensor:
    """The clips of the test patient's loops that LVEF is read from."""
    store = LoopStore.open(made.dataset)
    rows = store.rows_where(["view"], split="test").to_pylist()
    read = [row["row"] for row in rows if row["view"] in ("A4C", "A2C")]
    return torch.stack([clip for clip, _ in ClipDataset(store, read, spec)])


def test_panecho_s_head_answers_with_an_interval_of_one_s_own_patients(
    made: Made, theirs: Theirs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the same put together of torch's modules, for the loops of a DICOM study."""
    monkeypatch.setattr(PanEcho, "fed", SMALL)
    torch.save(theirs.saved(), tmp_path / "panecho.pt")
    model = load_model(assembled(made, tmp_path / "panecho.pt", tmp_path))
    (answer,) = predict(made.tested, model, workers=1)
    clips = clips_of_the_tested(made, SMALL)
    by_hand = float(theirs(prepare(SMALL, clips))["EF"].mean())
    task = answer.task("lvef")
    assert task.value == pytest.approx(by_hand, abs=2e-3)
    assert task.interval is not None and task.interval.patients >= 3
    assert [share.weight for share in task.loops] == pytest.approx([1 / len(clips)] * len(clips))
    assert model.card.encoder.path == str(tmp_path / "panecho.pt"), "their weights stay where they are"


def test_one_s_own_ridge_on_echoprime_s_vector_answers(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against its network and the ridge themselves, for the loops of a DICOM study."""
    spec = replace(EchoPrime.fed, size=32)
    for name, value in (("fed", spec), ("width", 16), ("build", small_mvit)):
        monkeypatch.setattr(EchoPrime, name, value)
    torch.manual_seed(4)
    network, ridge = small_mvit().eval(), {"weight": torch.randn(1, 512), "bias": torch.tensor([55.0])}
    torch.save(network.state_dict(), tmp_path / "echo_prime_encoder.pt")
    save_file(ridge, tmp_path / "ridge.safetensors")
    heads = {"lvef": HeadFile("ridge.safetensors", "%")}
    write_record(tmp_path / "echoprime.json", WeightsWithHeads("echo_prime_encoder.pt", heads))
    model = load_model(assembled(made, tmp_path / "echoprime.json", tmp_path))
    (answer,) = predict(made.tested, model, workers=1)
    clips = prepare(spec, clips_of_the_tested(made, spec))
    with torch.no_grad():
        by_hand = float((network(clips) @ ridge["weight"].T + ridge["bias"]).mean())
    task = answer.task("lvef")
    assert task.value == pytest.approx(by_hand, abs=2e-2) and task.interval is not None


def test_validation_patients_choose_among_the_heads_of_a_released_probe_file(
    made: Made, tmp_path: Path
) -> None:
    """Two heads, of which one is far off; z-scored as its file was trained."""
    encoder = load_backbone(made.run)
    states = [
        {"norm.weight": torch.ones(128), "norm.bias": torch.zeros(128), "linear.weight": torch.zeros(1, 128),
         "linear.bias": torch.tensor([bias])}
        for bias in (9.0, 0.5)
    ]  # fmt: skip
    torch.save({"classifiers": states}, tmp_path / "probes.pt")
    heads = {"lvef": HeadFile("probes.pt", "%", mean=50.0, std=10.0)}
    write_record(tmp_path / "official.json", WeightsWithHeads(str(made.run), heads))
    model = load_model(assembled(made, tmp_path / "official.json", tmp_path))
    (answer,) = predict(made.tested, model, workers=1)
    assert answer.task("lvef").value == pytest.approx(55.0)
    assert load_backbone(tmp_path / "official.json").spec == encoder.spec
    record = WeightsWithHeads(str(made.run), heads, official=True)
    write_record(tmp_path / "fed.json", record)
    assert load_backbone(tmp_path / "fed.json").spec == OFFICIAL


def test_a_head_gives_its_own_unit_and_sign_and_nobody_is_given_one_that_is_not_there(
    theirs: Theirs, tmp_path: Path
) -> None:
    path = tmp_path / "panecho.pt"
    torch.save(theirs.saved(), path)
    strain = own_head(str(path), Task("strain", "GLS", "regression", "%"))
    head = theirs.heads["GLS"]
    assert strain is not None and strain.linear is not None and isinstance(head, nn.Linear)
    torch.testing.assert_close(strain.linear, (-head.weight.data, -head.bias.data))
    assert own_head(str(path), Task("tapse", "TAPSE", "regression", "cm")) is None
    assert own_head(str(path), VIEW) is None
    with pytest.raises(UserError, match="convert the labels"):
        own_head(str(path), Task("strain", "GLS", "regression", "mm"))


def test_a_head_that_no_backbone_has_is_said(made: Made, tmp_path: Path) -> None:
    settings = ProbeConfig(
        data=(made.dataset,), out=tmp_path, backbones=(str(made.run),), resamples=2, tasks=("lvef",)
    )
    with pytest.raises(UserError, match="no backbone comes with a head for lvef"):
        PlanRun(Plan("probe", (PlanBlock((LVEF,), (OWN_HEAD,)),)), settings).run(quiet)
