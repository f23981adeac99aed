"""Signs of collapse, measured on target features of a fixed set of clips, and said in words.

The mean of each position over clips is taken out first: it is large, the same for every input, and
would make healthy features look collapsed. Rank alone is no verdict, so a cheap probe stands beside it, and
how often a clip's nearest neighbour is of the same patient, beside the same number of a random encoder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.model_selection import GroupKFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from echojepa.config import InputSpec
from echojepa.models.contract import prepare


@dataclass(frozen=True)
class FeatureHealth:
    """Numbers that fall, or rise to one, when features collapse."""

    effective_rank: float
    """exp(entropy of the normalised singular values), RankMe (arXiv 2210.02885); at most the width."""
    spread: float
    """Standard deviation of a feature dimension, mean over dimensions."""
    cosine: float
    """Mean absolute cosine between the same position of different clips; 1 is total collapse."""
    target_variance: float
    """Variance of a layer-normalised feature, which JEPA's loss is measured in, over clips and tokens, mean
    over dimensions; at most 1."""


def feature_health(features: Tensor) -> FeatureHealth:
    """Measure features (B clips, N tokens, D); B must be at least 3."""
    if features.shape[0] < 3:
        raise ValueError(f"feature health needs at least 3 clips, got {features.shape[0]}")
    centred = (features - features.mean(dim=0)).float()
    targets = F.layer_norm(features.float(), features.shape[-1:])
    variance = (targets - targets.mean(dim=0)).flatten(0, 1).var(dim=0).mean()
    flat = centred.flatten(0, 1)
    values = torch.linalg.eigvalsh(flat.T @ flat).clamp_min(0).sqrt()
    share = values / values.sum().clamp_min(1e-12)
    entropy = -(share * share.clamp_min(1e-12).log()).sum()
    units = F.normalize(centred, dim=-1).transpose(0, 1)
    cosines = (units @ units.transpose(1, 2)).abs().mean(dim=0)
    clips = len(features)
    between = (cosines.sum() - cosines.diagonal().sum()) / (clips * (clips - 1))
    return FeatureHealth(entropy.exp().item(), flat.std(dim=0).mean().item(), between.item(), variance.item())


def patient_retrieval(features: Tensor, patients: Sequence[str]) -> float:
    """Share of clips (B, N, D) whose nearest other clip, by cosine of mean-pooled features, is of the same
    patient; of clips whose patient has another one. NaN where no patient has two."""
    pooled = (features - features.mean(dim=0)).float().mean(dim=1)
    units = F.normalize(pooled, dim=-1)
    nearest = (units @ units.T).fill_diagonal_(-2).argmax(dim=1).tolist()
    counts = Counter(patients)
    asked = [i for i, patient in enumerate(patients) if counts[patient] > 1]
    hits = [patients[nearest[i]] == patients[i] for i in asked]
    return sum(hits) / len(hits) if hits else float("nan")


def monitored_loops(patients: Sequence[str] | NDArray[Any], most: int) -> list[int]:
    """Which loops are looked at: two of each of evenly spaced patients, so that retrieval can be asked."""
    loops = np.argsort(np.asarray(patients), kind="stable")  # arrays, no dict: there can be 18 million
    _, starts, counts = np.unique(np.asarray(patients)[loops], return_index=True, return_counts=True)
    several = counts > 1
    starts, width = (starts[several], 2) if several.any() else (starts, 1)
    starts = starts[np.argsort(loops[starts])]
    places = torch.linspace(0, len(starts) - 1, min(most // 2, len(starts))).round().long().numpy()
    chosen = loops[starts[places, None] + np.arange(width)].ravel().tolist()
    others = [loop for loop in range(min(6, len(patients))) if loop not in chosen]
    return sorted(chosen + others[: max(0, 3 - len(chosen))])


def cheap_probe(features: Tensor, classes: Sequence[str], groups: Sequence[str]) -> float:
    """Cross-validated accuracy of a ridge classifier on mean-pooled features (B, N, D).

    Folds keep a patient (`groups`) whole. A number to watch over a run, not a result.
    """
    model = make_pipeline(StandardScaler(), RidgeClassifier(alpha=10.0))
    pooled = features.float().mean(dim=1).numpy()
    return float(cross_val_score(model, pooled, list(classes), groups=list(groups), cv=GroupKFold(5)).mean())


def readable(features: Tensor, values: Sequence[float], groups: Sequence[str]) -> float | None:
    """Share of a value's variance that ridge reads from mean-pooled features (B, N, D) of other patients; at
    most 1, None where too few values are known. For what is fixed in a clip and of no interest: a JEPA likes
    to lock on to it (arXiv 2211.10831)."""
    known = np.isfinite(values)
    chosen = np.asarray(groups)[known]
    if len(set(chosen)) < 5 or np.std(np.asarray(values)[known]) == 0:
        return None
    pooled = features.float().mean(dim=1).numpy()[known]
    truth = np.asarray(values)[known]
    model = make_pipeline(StandardScaler(), Ridge(alpha=10.0))
    found = cross_val_predict(model, pooled, truth, groups=chosen, cv=GroupKFold(5))
    return float(1 - np.square(found - truth).mean() / truth.var())


def brightness(clips: Tensor) -> list[float]:
    """Log of the mean value of what is not black, of each clip (B, 3, T, H, W): gain, as far as it shows."""
    lit = (clips > 0).flatten(1).sum(1).clamp_min(1)
    return (clips.flatten(1).float().sum(1) / lit).clamp_min(1).log().tolist()


class Monitor:
    """Looks at the kept encoder's features of fixed training clips every now and then."""

    def __init__(
        self,
        clips: Tensor,
        views: Sequence[str],
        patients: Sequence[str],
        spec: InputSpec,
        depths: Sequence[float] = (),
    ) -> None:
        """Clips (B, 3, T, H, W) uint8 with each one's view, patient and depth of the picture, mm."""
        self.clips, self.views, self.patients, self.spec = clips, views, patients, spec
        self.fixed = {"brightness": brightness(clips), "depth": depths}
        self.first: FeatureHealth | None = None
        self.random_retrieval: float | None = None

    def recall(self, lines: Sequence[dict[str, Any]]) -> None:
        """Take the run's first look from its log: what a resumed run goes on comparing with."""
        names = FeatureHealth.__dataclass_fields__
        look = next((line for line in lines if "effective_rank" in line), None)
        self.first = FeatureHealth(**{name: look[name] for name in names}) if look else None
        self.random_retrieval = look.get("random_retrieval") if look else None

    @torch.no_grad()
    def features(self, encoder: nn.Module) -> Tensor:
        """Features (B, N, D) of the fixed clips, on the CPU."""
        parts = [encoder(prepare(self.spec, part)).float().cpu() for part in self.clips.split(16)]
        return torch.cat(parts)

    def look(self, encoder: nn.Module, untrained: Callable[[], nn.Module]) -> dict[str, Any]:
        """Measurements to log, with `warnings` in words where there are any. `untrained` makes the encoder
        with the run's first random weights; it is asked once a run."""
        features = self.features(encoder)
        health = feature_health(features)
        first = self.first = self.first or health
        measured: dict[str, Any] = asdict(health)
        if len(set(self.views)) > 1 and len(set(self.patients)) >= 5:
            measured["view_probe"] = cheap_probe(features, self.views, self.patients)
        if len(set(self.patients)) < len(self.patients):
            measured["patient_retrieval"] = patient_retrieval(features, self.patients)
            if self.random_retrieval is None:
                random = self.features(untrained())
                self.random_retrieval = patient_retrieval(random, self.patients)
                measured["random_retrieval"] = self.random_retrieval
        for name, values in self.fixed.items():
            if len(values) == len(self.patients):
                measured[f"reads_{name}"] = readable(features, values, self.patients)
        warnings = warnings_of(health, first)
        if warnings:
            measured["warnings"] = warnings
        return measured


def warnings_of(now: FeatureHealth, first: FeatureHealth) -> list[str]:
    """Sentences about what looks wrong beside the run's first measurement; empty when healthy."""
    found = []
    if now.effective_rank < 0.25 * first.effective_rank:
        found.append(
            f"effective rank fell from {first.effective_rank:.1f} to {now.effective_rank:.1f}: features are "
            "collapsing onto few directions; lower optim.lr, raise optim.ema_start, or train on more patients"
        )
    if now.spread < 0.1 * first.spread:
        found.append(
            f"feature spread fell from {first.spread:.3f} to {now.spread:.3f}: clips are becoming "
            "indistinguishable; lower optim.lr"
        )
    if now.cosine > 0.9:
        found.append(
            f"different clips have a mean cosine of {now.cosine:.2f}: features hardly depend on input"
        )
    return found
