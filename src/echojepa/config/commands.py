"""Every setting of every command, as frozen dataclasses; tyro makes the command line from them.

The sentence under each field is its help text. Each run saves its resolved config as `config.json`;
a saved config is accepted instead of a recipe's name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from echojepa.config.answers import SHIPPED_MODEL
from echojepa.config.checks import check_least
from echojepa.config.evaluate import Engine, EvaluateConfig, Precision, ProbeConfig
from echojepa.config.values import Untold
from echojepa.errors import ConfigError
from echojepa.files.records import write_record

Layout = Literal["echojepa", "huggingface", "meta"]


@dataclass(frozen=True)
class SimulateConfig:
    """Write a cohort of synthetic patients: DICOM files, a data set, or a public data set's layout."""

    out: Path
    """Folder to write. Run the same command again to resume a stopped one."""
    preset: Literal["tiny", "demo", "benchmark", "counterfactual"] = "demo"
    """Defaults for the other settings: `tiny` is for tests, `benchmark` makes a data set of 25,000 loops,
    and `counterfactual` makes two loops of a patient at each step of the factor in `--vary`."""
    patients: int | None = None
    """Number of synthetic patients; by default the preset's."""
    seconds: float | None = None
    """Length of each loop; by default the preset's."""
    site: str | None = None
    """`teaching`, `community`, `apical` or `children`, or `all` for a mix; by default the preset's."""
    layout: str | None = None
    """What to write: `archive` (DICOM files and `labels.csv`), `store` (a data set as ingest makes it), or
    the layout of a public data set by its name in `ingest --from`; by default the preset's."""
    nuisance: Literal["low", "standard", "high"] = "standard"
    """Level of speckle contrast and decorrelation, clutter and gain drift; the hearts stay the same."""
    vary: str | None = None
    """Record each patient several times and change one factor: `ef`, `rvsp`, `heart-rate`, `speckle`, `gain`,
    `depth`, `tilt`, `site`, `wall-motion` (one wall does not move), or `heart` (present or absent)."""
    seed: int = 0
    """Random seed. This seed and a patient's number alone determine the patient."""
    workers: int = 0
    """Processes; 0 uses every core."""


@dataclass(frozen=True)
class IngestConfig:
    """Turn folders of DICOM files, or a public data set, into one de-identified data set."""

    sources: tuple[Path, ...]
    """Folders or files to read, searched recursively; for a public data set, the folder with its tables."""
    out: Path
    """The data set's folder: `loops.lance`, `labels.parquet`, `rejected.parquet`, `dataset.json`."""
    key: Path
    """Your secret key file for pseudonyms. Keep it outside the data set. A missing file is created."""
    labels: Path | None = None
    """Table of labels (CSV) with the columns `study_uid`, `label`, `value` and `unit`."""
    layout: str = "archive"
    """Kind of source, also written `--from`: `archive` (any files), or the name of a public data set."""
    held_out: tuple[int, int] = (0, 1)
    """EchoNet-Pediatric: the two folds (0 to 9) for the test and val splits; the others are for training."""
    patient_is: Literal["folder", "file"] = "folder"
    """Videos without a named patient: each folder is one patient, or each file is one patient."""
    frame_rate: float | None = None
    """Frame rate (frames a second) for the older CAMUS release, which states none."""
    columns: tuple[str, ...] = ()
    """Tables and lists: `WHAT=COLUMN` for a column with another name, `LABEL:UNIT=COLUMN` for a label."""
    site: str = "site"
    """Name of the site that the files came from; it is stored with every loop."""
    max_side: int = 256
    """Largest side of a stored loop, in pixels. Larger sectors are reduced; the aspect ratio is kept."""
    lossless: bool = False
    """Store frames as lossless PNG instead of JPEG of quality 95; this is slower and takes twice the disk."""
    cleared: Path | None = None
    """CSV with the column `file_id`: files held for review that a person found to be free of names."""
    dry_run: bool = False
    """Write no data set. Report what would be accepted or rejected, and the disk and time needed."""
    seed: int = 0
    """Seed of the patient-level split."""
    strict: bool = False
    """Exit with an error if any file was rejected."""
    workers: int = 0
    """Processes; 0 uses every core."""
    ray: str | None = None
    """Address of a Ray cluster to convert files on, or `local` (extra `ray`, docs/how-to/cluster.md)."""


@dataclass(frozen=True)
class VerifyConfig:
    """Look for faults that would spoil a result; exit with 1 if any is found."""

    data: Path
    """Data set made by `echojepa ingest`."""
    pixels: int = 1000
    """Number of evenly spaced loops whose pixels are checked; 0 checks all."""

    def __post_init__(self) -> None:
        if self.pixels < 0:
            raise ConfigError(f"pixels must be a number of loops, or 0 for all; got {self.pixels}")


@dataclass(frozen=True)
class SheetConfig:
    """Show an image of each loop and the list of rejected files on one page for a person to check."""

    data: Path
    """Data set made by `echojepa ingest`."""
    out: Path
    """The HTML file to write."""
    limit: int = 400
    """Maximum number of loops on the page, evenly spaced."""

    def __post_init__(self) -> None:
        check_least(self, 1, "limit")


@dataclass(frozen=True)
class EmbedConfig:
    """Write a frozen backbone's feature vector of every cine loop into a table."""

    data: Path
    """Data set made by `echojepa ingest`."""
    out: Path
    """Folder for the table `features/` (Parquet parts) and `embed.json`. A second run resumes the first."""
    backbone: str
    """Run folder, weights of another layout (docs/reference/weights.md), or name, as for `echojepa probe`."""
    precision: Precision = "float32"
    """Numeric precision of the backbone; int8 needs the openvino engine."""
    engine: Engine = "torch"
    """Engine that runs a video transformer: torch, or OpenVINO on the CPU (extra `fast`)."""
    clips_per_loop: int = 1
    """Number of evenly spaced clips of each loop; each clip gets a row."""
    batch_size: int = 32
    """Clips in one batch of the backbone."""
    workers: int = 0
    """Processes that read clips ahead; 0 reads clips in the main process."""
    csv: bool = False
    """Also write `features.csv`, for small tables."""
    ray: str | None = None
    """Address of a Ray cluster to embed on, or `local` (extra `ray`, docs/how-to/cluster.md)."""

    def __post_init__(self) -> None:
        check_least(self, 1, "clips_per_loop", "batch_size")
        check_least(self, 0, "workers")


@dataclass(frozen=True)
class ConvertConfig:
    """Convert JEPA weights from any known layout to another one."""

    source: Path
    """A V-JEPA 2 file (`.pt`), a Hugging Face `VJEPA2Model` folder, or the folder of a run."""
    to: Layout
    """Layout to write: our folder, a Hugging Face folder, or Meta's file."""
    out: Path
    """Folder to write (for `meta`, a file). It must not exist yet."""
    untold: Untold = field(default_factory=Untold)
    """Facts that the tensors of a file do not show, if they differ from the released files."""


@dataclass(frozen=True)
class AttendConfig:
    """Show where encoders look, as films of loops, and measure it."""

    backbones: tuple[str, ...]
    """Run folders (also fine-tuned ones), weights of other layouts, or names, as for `echojepa probe`. The
    random start of each is added."""
    out: Path
    """Folder for `numbers.md`, `.csv` and `.parquet`, with a folder for each shown loop: MP4, GIF, PNG,
    arrays."""
    data: Path | None = None
    """Data set made by `echojepa ingest` or `simulate --layout store` (its regions are known exactly)."""
    files: tuple[Path, ...] = ()
    """DICOM and video files, or folders of them, instead of a data set."""
    sources: tuple[str, ...] = ("layer:-1", "rollout", "occlusion")
    """Kinds of maps: `layer:N` (mean of its heads), `layer:N:HEAD`, `rollout`, `probe` (a probe's pooling
    weights), `occlusion` (how far a hidden token changes the probe's prediction or the pooled feature).
    Layers count from 0; negative numbers count from the end."""
    results: Path | None = None
    """Folder written by `echojepa probe`, for its probes; a fine-tuned encoder has its own."""
    task: str = "lvef"
    """Task of the probe in `results`."""
    probe: str = "attentive"
    """Name of the probe in `results`."""
    split: str = "val"
    """Patients of the data set: `train`, `val`, `test` or `all`."""
    view: str | None = None
    """Use only loops of this view."""
    loops: int = 8
    """Maximum number of loops to measure: the first loop of each of evenly spaced patients."""
    loop_ids: tuple[str, ...] = ()
    """Ids of loops to use instead."""
    films: int = 2
    """Number of these loops to show as films, from the first."""
    hide: tuple[int, int, int] = (1, 1, 1)
    """Tokens that `occlusion` hides together, in time, rows and columns; larger blocks are faster."""
    speckle: Path | None = None
    """Data set of `simulate --preset counterfactual --vary speckle`, to measure how speckle changes maps."""
    resamples: int = 1000
    """Bootstrap resamples of patients."""
    seed: int = 0
    """Seed of the bootstrap."""
    workers: int = 0
    """Processes that read files; 0 uses every core."""

    def __post_init__(self) -> None:
        if (self.data is None) == (not self.files):
            raise ConfigError("give either a data set with --data, or files with --files")
        if not self.backbones or not self.sources:
            raise ConfigError("give at least one backbone and one source")
        check_least(self, 1, "loops", "resamples", "hide")
        check_least(self, 0, "films")


@dataclass(frozen=True)
class SurpriseConfig:
    """Show where a run's predictor errs more than usual, and how well that detects unusual loops."""

    run: Path
    """Run folder made by `echojepa pretrain`, with its predictor."""
    data: Path
    """The run's own training data set. Its training loops define the usual error; its validation loops are
    the new but similar ones."""
    out: Path
    """Folder for `surprise.md`, `.svg` and tables; each shown loop has a folder: MP4, GIF, PNG, arrays."""
    unlike: tuple[str, ...] = ()
    """Kinds of unusual loops. `NAME=PATH` names a data set, or DICOM and video files; they are compared with
    validation loops of the same views. `NAME=PATH[KEY=VALUE]` names the loops of a data set with that `view`,
    `site`, `split` or label; they are compared with its other loops."""
    train_loops: int = 400
    """Maximum number of training loops that define the usual error, evenly spaced."""
    loops: int = 200
    """Maximum number of validation loops and of loops of each kind, evenly spaced."""
    films: int = 1
    """Number of loops of each kind to show as films, from the first."""
    resamples: int = 1000
    """Bootstrap resamples of patients."""
    seed: int = 0
    """Seed of the bootstrap."""
    workers: int = 0
    """Processes that read files; 0 uses every core."""

    def __post_init__(self) -> None:
        check_least(self, 1, "train_loops", "loops", "resamples")
        check_least(self, 0, "films")


@dataclass(frozen=True)
class ReportConfig:
    """Write one self-contained HTML report of a run and its results."""

    data: Path
    """Data set made by `echojepa ingest`."""
    run: Path
    """Run folder made by `echojepa pretrain`."""
    results: Path
    """Folder written by `echojepa evaluate` or `echojepa probe`."""
    out: Path
    """The HTML file to write."""
    map_method: Literal["pca", "umap"] = "pca"
    """Method for the two-dimensional map of test embeddings; umap needs the extra `umap`."""
    attention_site: str | None = None
    """Site whose longest loop shows attention; by default the site ingested last."""
    attention_credit: str = ""
    """Credit line below the images of that loop."""
    finetuned: Path | None = None
    """Folder made by `echojepa finetune` from this run; the report also shows its head's attention."""
    surprise: Path | None = None
    """Folder made by `echojepa surprise` from this run, for the figure on when the model fails."""
    against: tuple[Path, ...] = ()
    """Results of other runs to compare with `results`, item by item. They must have the same data, test items
    and protocol."""


@dataclass(frozen=True)
class DemoConfig:
    """Run every stage, from synthetic and real DICOM files to a report; or examine your own files."""

    out: Path = Path("demo")
    """Folder for the outputs of all stages."""
    patients: int = 200
    """Synthetic patients."""
    steps: int | None = None
    """Pretraining steps; by default those of the recipe `micro`."""
    seed: int = 0
    """Seed of every stage."""
    data: Path | None = None
    """Folder of your own unlabelled files, instead of synthetic patients. They are ingested, shown and
    embedded with `model`; the page shows how far they lie from its training set."""
    model: Path = SHIPPED_MODEL
    """With `data`: the model's folder, made by `echojepa assemble`, or `shipped:small`."""
    run: Path | None = None
    """With `data`: the run of the model's encoder, to show its predictor's surprise at your files. The run's
    training data set must still be in its place."""

    def __post_init__(self) -> None:
        if self.run is not None and self.data is None:
            raise ConfigError("--run works only on your own files; give --data and --model, too")


def save_config(config: ProbeConfig | EmbedConfig | EvaluateConfig) -> None:
    """Write the resolved settings into the output folder. Other commands do so themselves. An ingest must
    not, because its paths can name a patient."""
    write_record(config.out / "config.json", config)
