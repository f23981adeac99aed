"""Every setting of every command, as frozen dataclasses; nothing here imports torch."""

from __future__ import annotations

from echojepa.config.answers import (
    SHIPPED_MODEL,
    AssembleConfig,
    ListenConfig,
    PredictConfig,
    ServeConfig,
    SurveyConfig,
)
from echojepa.config.commands import (
    AttendConfig,
    ConvertConfig,
    DemoConfig,
    EmbedConfig,
    IngestConfig,
    Layout,
    ReportConfig,
    SheetConfig,
    SimulateConfig,
    SurpriseConfig,
    VerifyConfig,
    save_config,
)
from echojepa.config.evaluate import Engine, EvaluateConfig, FrozenConfig, PlanConfig, Precision, ProbeConfig
from echojepa.config.finetune import FinetuneConfig, TuningConfig
from echojepa.config.pretrain import (
    LABELLED,
    PAPER_LATENT,
    FaultConfig,
    LatentConfig,
    OptimConfig,
    PretrainConfig,
)
from echojepa.config.values import (
    NO_MASK,
    PAPER_MASKS,
    SIZES,
    TIME_MASK,
    TUBE_MASK,
    Architecture,
    InputSpec,
    Interpolation,
    MaskConfig,
    PositionKind,
    Size,
    SizeName,
    TimeSplit,
    Untold,
)
from echojepa.errors import ConfigError
