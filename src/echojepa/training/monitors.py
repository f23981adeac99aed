"""Signs of collapse, measured on target features of a fixed set of clips, and said in words.

The mean of each position over clips is taken out first: it is large, the same for every input, and
would make healthy features look collapsed. Rank alone is no verdict, so a cheap probe stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor


@dataclass(frozen=True)
class FeatureHealth:
    """Numbers that fall, or rise to one, when features collapse."""

    effective_rank: float
    """exp(entropy of the normalised singular values), RankMe (arXiv 2210.02885); at most the width."""
    spread: float
    """Standard deviation of a feature dimension, mean over dimensions."""
    cosine: float
    """Mean absolute cosine between the same position of different clips; 1 is total collapse."""


def feature_health(features: Tensor) -> FeatureHealth:
    """Measure features (B clips, N tokens, D); B must be at least 3."""
    if features.shape[0] < 3:
        raise ValueError(f"feature health needs at least 3 clips, got {features.shape[0]}")
    centred = (features - features.mean(dim=0)).float()
    flat = centred.flatten(0, 1)
    values = torch.linalg.eigvalsh(flat.T @ flat).clamp_min(0).sqrt()
    share = values / values.sum().clamp_min(1e-12)
    entropy = -(share * share.clamp_min(1e-12).log()).sum()
    units = F.normalize(centred, dim=-1).transpose(0, 1)
    cosines = (units @ units.transpose(1, 2)).abs().mean(dim=0)
    clips = len(features)
    between = (cosines.sum() - cosines.diagonal().sum()) / (clips * (clips - 1))
    return FeatureHealth(entropy.exp().item(), flat.std(dim=0).mean().item(), between.item())


def cheap_probe(features: Tensor, classes: Sequence[str], groups: Sequence[str]) -> float:
    """Cross-validated accuracy of a ridge classifier on mean-pooled features (B, N, D).

    Folds keep a patient (`groups`) whole. A number to watch over a run, not a result.
    """
    model = make_pipeline(StandardScaler(), RidgeClassifier(alpha=10.0))
    pooled = features.float().mean(dim=1).numpy()
    return float(cross_val_score(model, pooled, list(classes), groups=list(groups), cv=GroupKFold(5)).mean())


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
