"""Claims about the table of features: what is in it, and that stopping and sharing lose nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import torch
from encoders import weights_of

from echojepa.backbones.loading import load_backbone
from echojepa.cli import main
from echojepa.config import Architecture, ConfigError, EmbedConfig, InputSpec
from echojepa.data.clips.clips import ClipDataset
from echojepa.data.store.loop_store import LoopStore
from echojepa.evaluation.features import embed as embedding
from echojepa.evaluation.features.embed import METADATA, FeatureTable, embed
from echojepa.models.vit import VisionTransformer
from echojepa.progress import quiet
from echojepa.weights.folder import Origin, save_weights


def write_weights(path: Path, seed: int = 0) -> Path:
    """A small encoder with random weights, as a run leaves it."""
    spec, architecture = InputSpec(size=32, frames=2, seconds=0.1), Architecture("micro", patch=16)
    encoder = VisionTransformer(architecture, spec, torch.Generator().manual_seed(seed))
    save_weights(path, weights_of(encoder, architecture, spec, Origin("jepa")))
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "run")


@pytest.fixture
def config(dataset: Path, weights: Path, tmp_path: Path) -> EmbedConfig:
    """Two clips of each loop, in batches that cut through loops."""
    return EmbedConfig(dataset, tmp_path / "out", str(weights), clips_per_loop=2, batch_size=7)


def read(config: EmbedConfig) -> pa.Table:
    return pq.read_table(config.out / "features").sort_by([("loop_id", "ascending"), ("clip", "ascending")])


def test_each_clip_has_the_backbone_s_vector_under_its_loop_s_ids(config: EmbedConfig, store) -> None:
    summary = embed(config, quiet)
    table = read(config)
    loops = store.metadata().to_pylist()
    assert (summary.new, summary.before, summary.clips) == (len(loops), 0, 2 * len(loops))
    assert table.num_rows == summary.clips and summary.width == 192
    backbone = load_backbone(config.backbone)
    clips = ClipDataset(store, [5], backbone.spec, clips_per_loop=2)
    for number in (0, 1):
        expected = backbone(clips[number][0][None]).pooled[0].numpy()
        row = table.filter(pa.compute.field("loop_id") == loops[5]["loop_id"]).to_pylist()[number]
        assert row["clip"] == number
        np.testing.assert_allclose(row["embedding"], expected, atol=1e-5)
        assert all(row[name] == loops[5][name] for name in ("study_id", "patient_id", "split", "view"))


def test_stopped_and_started_again_it_makes_the_same_table_without_repeating_a_loop(
    config: EmbedConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed(replace(config, out=config.out / "unbroken"), quiet)
    monkeypatch.setattr(embedding, "COMMIT_ROWS", 12)

    def stop(done: int, total: int) -> None:
        if done >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(config, stop)
    (config.out / "features/.part-000099.parquet.tmp").write_bytes(b"torn")  # as a kill leaves it
    done = len(set(read(config)["loop_id"].to_pylist()))
    summary = embed(config, quiet)
    assert summary.before == done >= 20 and summary.new + done == summary.clips // 2
    assert read(config).equals(read(replace(config, out=config.out / "unbroken")))
    assert embed(config, quiet).new == 0


def test_what_a_lost_part_held_is_made_again(config: EmbedConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "COMMIT_ROWS", 12)
    embed(config, quiet)
    before, part = read(config), config.out / "features/part-000002.parquet"
    lost = set(pq.read_table(part)["loop_id"].to_pylist())
    part.unlink()
    assert embed(config, quiet).new == len(lost)
    assert read(config).equals(before)


def test_two_writers_of_the_same_loops_leave_each_once(tmp_path: Path) -> None:
    (tmp_path / "features").mkdir()
    writers = [FeatureTable(tmp_path / "features", {}) for _ in range(2)]
    for writer, names in zip(writers, (["a", "b"], ["b", "c"]), strict=True):
        writer.take(pa.table({"loop_id": names}))
    for writer in (*writers, *writers):
        writer.commit()
    assert sorted(pq.read_table(tmp_path / "features")["loop_id"].to_pylist()) == ["a", "b", "c"]


def test_a_part_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "features").mkdir()
    for name in ("a", "b", "c"):
        writer = FeatureTable(tmp_path / "features", {})
        writer.learn()
        writer.take(pa.table({"loop_id": [name]}))
        writer.commit()
        if name == "b":  # now there are fewer parts than numbers given
            (tmp_path / "features/part-000000.parquet").unlink()
    assert sorted(pq.read_table(tmp_path / "features")["loop_id"].to_pylist()) == ["b", "c"]


def test_the_table_says_which_data_and_weights_made_it(config: EmbedConfig, store: LoopStore) -> None:
    embed(config, quiet)
    facts = json.loads(pq.read_schema(config.out / "features/part-000000.parquet").metadata[METADATA])
    assert facts["backbone_sha256"] == load_backbone(config.backbone).sha256
    assert facts["data_fingerprint"] == store.fingerprint()
    assert facts["clips_per_loop"] == 2 and facts["input"]["frames"] == 2


def test_a_folder_of_other_weights_settings_or_data_is_refused(config: EmbedConfig, tmp_path: Path) -> None:
    embed(config, quiet)
    for change, expected in (
        ({"backbone": str(write_weights(tmp_path / "other", seed=1))}, "with different backbone_sha256"),
        ({"clips_per_loop": 1}, "with different clips_per_loop"),
    ):
        with pytest.raises(ConfigError, match=expected):
            embed(replace(config, **change), quiet)
    part = config.out / "features/part-000000.parquet"
    table = pq.read_table(part)
    foreign = table.set_column(0, "loop_id", pa.array(["elsewhere"] * table.num_rows))
    pq.write_table(foreign, part)
    with pytest.raises(ConfigError, match="has features of loops that are not in"):
        embed(config, quiet)


def test_the_command_writes_the_same_as_text_and_not_where_it_is_too_much(
    config: EmbedConfig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["embed", "--data", str(config.data), "--out", str(config.out), "--backbone",
                 config.backbone, "--workers", "1", "--csv"]  # fmt: skip
    assert main(arguments) == 0
    assert "rows of 192 numbers" in capsys.readouterr().out
    text, table = pyarrow.csv.read_csv(config.out / "features.csv"), pq.read_table(config.out / "features")
    assert text["loop_id"].to_pylist() == table["loop_id"].to_pylist()
    last = table["embedding"].combine_chunks().flatten().to_numpy().reshape(-1, 192)[:, 191]
    np.testing.assert_allclose(text["e191"].to_numpy(), last, rtol=1e-6)
    monkeypatch.setattr(embedding, "MOST_CSV", 100)
    assert main(arguments) == 1 and "more than 100 numbers" in capsys.readouterr().err
