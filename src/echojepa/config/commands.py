"""Every setting of every command, as frozen dataclasses; tyro makes the command line from them.

A sentence stands under each field and is its help text. The resolved config is saved as
`config.json` with each run, and a saved one is accepted in place of a recipe's name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from echojepa.config.answers import SHIPPED_MODEL
from echojepa.config.evaluate import Engine, EvaluateConfig, Precision, ProbeConfig
from echojepa.config.values import Untold
from echojepa.errors import ConfigError
from echojepa.files.records import write_record

Layout = Literal["echojepa", "huggingface", "meta"]


@dataclass(frozen=True)
class SimulateConfig:
    """Write a cohort of synthetic patients: DICOM files, a data set, or a public data set's layout."""

    out: Path
    """Folder to write; run again after a stop, it goes on."""
    preset: Literal["tiny", "demo", "benchmark", "counterfactual"] = "demo"
    """What stands for all that is not said: `tiny` is for tests, `benchmark` a data set of 25,000 loops,
    `counterfactual` two loops of a patient at each step of the factor that `--vary` names."""
    patients: int | None = None
    """Number of synthetic patients; by default the preset's."""
    seconds: float | None = None
    """Length of each loop; by default the preset's."""
    site: str | None = None
    """`teaching`, `community`, `apical` or `children`, or `all` for a mix; by default the preset's."""
    layout: str | None = None
    """What to write: `archive` is DICOM files and `labels.csv`, `store` a data set as ingest makes them, or a
    public data set's folder by the name that `ingest --from` knows; by default the preset's."""
    nuisance: Literal["low", "standard", "high"] = "standard"
    """Speckle contrast and decorrelation, clutter and gain drift, on the same hearts."""
    vary: str | None = None
    """Record each patient several times with one factor moved: `ef`, `rvsp`, `heart-rate`, `speckle`, `gain`,
    `depth`, `tilt`, `site`, `wall-motion` (a wall that does not move, or none), or `heart`, which is there or
    not."""
    seed: int = 0
    """A patient is a function of this seed and its number alone."""
    workers: int = 0
    """Processes; 0 uses every core."""


@dataclass(frozen=True)
class IngestConfig:
    """Turn folders of DICOM files, or a public data set, into one de-identified data set."""

    sources: tuple[Path, ...]
    """Folders or files to read, searched recursively; of a public data set the folder with its tables."""
    out: Path
    """The data set's folder: `loops.lance`, `labels.parquet`, `rejected.parquet`, `dataset.json`."""
    key: Path
    """Your secret key file for pseudonymous ids, kept outside the data set; made if it is missing."""
    labels: Path | None = None
    """Table of labels (CSV) with the columns `study_uid`, `label`, `value` and `unit`."""
    layout: str = "archive"
    """What the sources are, also written `--from`: an archive of any files, or a data set by its name."""
    held_out: tuple[int, int] = (0, 1)
    """EchoNet-Pediatric: the folds, 0 to 9, whose patients are the test and val splits; others train."""
    patient_is: Literal["folder", "file"] = "folder"
    """Videos without a named patient: whether those of one folder are one patient's, or each is another's."""
    frame_rate: float | None = None
    """CAMUS's older release, which states no frame rate: frames a second that you take its cines to have."""
    columns: tuple[str, ...] = ()
    """Tables and lists: `WHAT=COLUMN` where a column has another name, `LABEL:UNIT=COLUMN` for a label."""
    site: str = "site"
    """Name of where the files came from, stored with every loop."""
    max_side: int = 256
    """Loops whose sector is larger than this many pixels are reduced to it once, keeping the aspect ratio."""
    lossless: bool = False
    """Store frames as PNG, bit for bit, in place of JPEG of quality 95; twice the disk, and slower."""
    cleared: Path | None = None
    """Table (CSV) with the column `file_id`: held files that a person looked at and found free of names."""
    dry_run: bool = False
    """Write no data set: say what would come in, what would not and why, and the disk and time needed."""
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
    """Look for what would spoil a result; exit with 1 if there is anything."""

    data: Path
    """Data set made by `echojepa ingest`."""
    pixels: int = 1000
    """Evenly spaced loops whose pixels are looked at, too; 0 looks at all."""

    def __post_init__(self) -> None:
        if self.pixels < 0:
            raise ConfigError(f"pixels must be a number of loops, or 0 for all; got {self.pixels}")


@dataclass(frozen=True)
class SheetConfig:
    """Put a picture of each loop, and what did not come in, on one page for a person to look over."""

    data: Path
    """Data set made by `echojepa ingest`."""
    out: Path
    """The HTML file to write."""
    limit: int = 400
    """Loops on the page at most, evenly spaced."""

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ConfigError(f"limit must be at least 1 loop; got {self.limit}")


@dataclass(frozen=True)
class EmbedConfig:
    """Write a frozen backbone's feature vector of every cine loop into a table."""

    data: Path
    """Data set made by `echojepa ingest`."""
    out: Path
    """Folder for the table, `features/` (Parquet in parts), and `embed.json`; run again, it goes on."""
    backbone: str
    """Run folder, weights of another layout (docs/reference/weights.md), or name, as for `echojepa probe`."""
    precision: Precision = "float32"
    """Arithmetic of the backbone; int8 needs the openvino engine."""
    engine: Engine = "torch"
    """What runs a video transformer: torch, or OpenVINO on the CPU (extra `fast`)."""
    clips_per_loop: int = 1
    """Clips of each loop, evenly spaced: a row each."""
    batch_size: int = 32
    """Clips that go through the backbone together."""
    workers: int = 0
    """Processes that read clips ahead; 0 reads them in between."""
    csv: bool = False
    """Write `features.csv`, too: for small tables."""
    ray: str | None = None
    """Address of a Ray cluster to embed on, or `local` (extra `ray`, docs/how-to/cluster.md)."""

    def __post_init__(self) -> None:
        if min(self.clips_per_loop, self.batch_size) < 1 or self.workers < 0:
            raise ConfigError(
                "clips_per_loop and batch_size must be at least 1 and workers at least 0; got "
                f"{self.clips_per_loop}, {self.batch_size} and {self.workers}"
            )


@dataclass(frozen=True)
class ConvertConfig:
    """Write JEPA weights, read from any layout, in another one."""

    source: Path
    """A V-JEPA 2 file (`.pt`), a Hugging Face `VJEPA2Model` folder, or the folder of a run."""
    to: Layout
    """Layout to write: our folder, a Hugging Face folder, or Meta's file."""
    out: Path
    """Folder to write, or file for `meta`; nothing is overwritten."""
    untold: Untold = field(default_factory=Untold)
    """What no tensor of a file tells, where it is not as in the released files."""


@dataclass(frozen=True)
class AttendConfig:
    """Show where encoders look, on films of loops, and put numbers beside what that claims."""

    backbones: tuple[str, ...]
    """Run folders, fine-tuned ones too, weights of other layouts, or names, as for `echojepa probe`; the
    random start of each is added."""
    out: Path
    """Folder for `numbers.md`, `.csv` and `.parquet`, and a folder of each shown loop: MP4, GIF, PNG,
    arrays."""
    data: Path | None = None
    """Data set made by `echojepa ingest`, or by `simulate --layout store`: then regions are exactly known."""
    files: tuple[Path, ...] = ()
    """In place of a data set: DICOM and video files, or folders of them."""
    sources: tuple[str, ...] = ("layer:-1", "rollout", "occlusion")
    """What maps are of: `layer:N` (mean of its heads), `layer:N:HEAD`, `rollout`, `probe` (a probe's pooling
    weights), `occlusion` (how far hiding a token moves the probe's prediction, or the pooled feature). Layers
    count from 0, or from the end by negative numbers."""
    results: Path | None = None
    """Folder that `echojepa probe` wrote, for its probes; a fine-tuned encoder has its own."""
    task: str = "lvef"
    """Task of the probe in `results`."""
    probe: str = "attentive"
    """Name of the probe in `results`."""
    split: str = "val"
    """Patients of the data set: `train`, `val`, `test` or `all`."""
    view: str | None = None
    """Loops of this view only."""
    loops: int = 8
    """Loops that numbers are of, at most: the first of a patient, of evenly spaced patients."""
    loop_ids: tuple[str, ...] = ()
    """In place of these: loops by their ids."""
    films: int = 2
    """Loops that are shown, the first ones of those."""
    hide: tuple[int, int, int] = (1, 1, 1)
    """Tokens hidden together by `occlusion`, in time, rows and columns; more are quicker and coarser."""
    speckle: Path | None = None
    """Data set of `simulate --preset counterfactual --vary speckle`: how far other speckle moves maps."""
    resamples: int = 1000
    """Bootstrap resamples of patients."""
    seed: int = 0
    """Of the bootstrap."""
    workers: int = 0
    """Processes that read files; 0 uses every core."""

    def __post_init__(self) -> None:
        if (self.data is None) == (not self.files):
            raise ConfigError("give either a data set with --data, or files with --files")
        if not self.backbones or not self.sources:
            raise ConfigError("give a backbone and a source at least")
        if min(self.loops, self.resamples, *self.hide) < 1 or self.films < 0:
            raise ConfigError("loops, resamples and the numbers of hide must be 1 at least, films 0 or more")


@dataclass(frozen=True)
class SurpriseConfig:
    """Show where a run's predictor errs more than usual, and how well that tells unlike loops."""

    run: Path
    """Run folder made by `echojepa pretrain`, with its predictor."""
    data: Path
    """The data set it was trained on: training patients' loops say what is usual, validation patients' are
    the new ones that are alike."""
    out: Path
    """Folder for `surprise.md`, `.svg`, tables, and a folder of each shown loop: MP4, GIF, PNG, arrays."""
    unlike: tuple[str, ...] = ()
    """Kinds of loops that are unlike it: `NAME=PATH` of a data set or of DICOM and video files, held against
    validation loops of the same views; or `NAME=PATH[KEY=VALUE]`, the loops of a data set with that `view`,
    `site`, `split` or label, held against its others."""
    train_loops: int = 400
    """Training loops that say what is usual, at most, evenly spaced."""
    loops: int = 200
    """Validation loops, and loops of each kind, at most, evenly spaced."""
    films: int = 1
    """Loops of each kind that are shown, the first ones."""
    resamples: int = 1000
    """Bootstrap resamples of patients."""
    seed: int = 0
    """Of the bootstrap."""
    workers: int = 0
    """Processes that read files; 0 uses every core."""

    def __post_init__(self) -> None:
        if min(self.train_loops, self.loops, self.resamples) < 1 or self.films < 0:
            raise ConfigError("train_loops, loops and resamples must be 1 at least, films 0 or more")


@dataclass(frozen=True)
class ReportConfig:
    """Put a run and its results into one self-contained HTML file."""

    data: Path
    """Data set made by `echojepa ingest`."""
    run: Path
    """Run folder made by `echojepa pretrain`."""
    results: Path
    """Folder written by `echojepa evaluate` or `echojepa probe`."""
    out: Path
    """The HTML file to write."""
    map_method: Literal["pca", "umap"] = "pca"
    """How test embeddings are laid out in two dimensions; umap needs the extra `umap`."""
    attention_site: str | None = None
    """Site whose longest loop attention is laid over; by default the site that came in last."""
    attention_credit: str = ""
    """Whose pictures those are, printed below them."""
    finetuned: Path | None = None
    """Folder made by `echojepa finetune` from this run; its head's attention is shown, too."""
    surprise: Path | None = None
    """Folder made by `echojepa surprise` from this run; it is the figure of when the model fails."""
    against: tuple[Path, ...] = ()
    """Results of other runs, compared with `results` item by item; of other data, test items or protocol they
    are refused."""


@dataclass(frozen=True)
class DemoConfig:
    """Run every stage, from synthetic and real DICOM files to a report; or look at files of your own."""

    out: Path = Path("demo")
    """Folder for everything that the stages make."""
    patients: int = 200
    """Synthetic patients."""
    steps: int | None = None
    """Pretraining steps; by default those of the recipe `micro`."""
    seed: int = 0
    """Seed of every stage."""
    data: Path | None = None
    """In place of synthetic patients: a folder of your own files, unlabelled. They are ingested, shown and
    embedded by `model`, and the page says how far they lie from its training set."""
    model: Path = SHIPPED_MODEL
    """With `data`: the model's folder, made by `echojepa assemble`, or `shipped:small`."""
    run: Path | None = None
    """With `data`: the run of the model's encoder, whose predictor's surprise at your files is shown; the
    data set that it was trained on must be where it was."""

    def __post_init__(self) -> None:
        if self.run is not None and self.data is None:
            raise ConfigError("--run says what is usual for files of your own; give --data and --model, too")


def save_config(config: ProbeConfig | EmbedConfig | EvaluateConfig) -> None:
    """Leave the resolved settings beside what they made. Others do so themselves; an ingest must not,
    because the paths it was given can name a patient."""
    write_record(config.out / "config.json", config)
