"""Pictures are resized as the published models' own code does: against OpenCV."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from echojepa.backbones import echoprime
from echojepa.config import InputSpec, Interpolation
from echojepa.models.contract import fit, resize

PICTURES = np.random.default_rng(0).integers(0, 256, (3, 97, 97), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["area", "linear", "bicubic"])
@pytest.mark.parametrize(("before", "after"), [(40, 97), (97, 64), (50, 51), (30, 90), (64, 32), (70, 96)])
def test_resizing_equals_opencv_s_where_a_picture_grows_and_where_it_shrinks(
    before: int, after: int, kind: Interpolation
) -> None:
    cv2 = pytest.importorskip("cv2")
    named = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
    for picture in PICTURES[:, :before, :before]:
        theirs = cv2.resize(np.ascontiguousarray(picture), (after, after), interpolation=named[kind])
        ours = resize(torch.from_numpy(picture.copy())[None], after, kind)[0]
        assert np.abs(ours.numpy().astype(int) - theirs.astype(int)).max() <= 1  # OpenCV rounds its weights


@pytest.mark.parametrize("side", [256, 112, 97, 9])
def test_echoprime_s_margin_is_whole_pixels_cut_off_before_resizing(side: int) -> None:
    cv2 = pytest.importorskip("cv2")
    picture = np.random.default_rng(side).integers(0, 256, (side, side), dtype=np.uint8)
    cut = int(side / 10)
    inner = picture[cut : side - cut, cut : side - cut]
    theirs = cv2.resize(np.ascontiguousarray(inner), (224, 224), interpolation=cv2.INTER_CUBIC)
    ours = fit(echoprime.SPEC, torch.from_numpy(picture)[None])[0]
    assert np.abs(ours.numpy().astype(int) - theirs.astype(int)).max() <= 1


def test_an_input_without_later_settings_reads_as_it_did() -> None:
    assert str(InputSpec()) == repr(InputSpec()) and "margin" not in str(InputSpec())
    assert "margin=0.1" in str(echoprime.SPEC)
