"""Claims about the objectives that learn from labels, each proved against plain code."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from echojepa.config import NO_MASK, PAPER_MASKS, ConfigError, InputSpec, PretrainConfig
from echojepa.models.building import build_objective
from echojepa.models.clip_head import moments
from echojepa.models.contrastive import Contrastive
from echojepa.models.masking import sample_mask
from echojepa.models.phrases import FUNCTION, GRADES, PHRASES, PRESSURE, SEEN, SIZE, WORDINGS, report
from echojepa.models.supervised import OUTPUTS, VIEWS, Supervised
from echojepa.recipes import small, small_contrastive, small_supervised

NAN = math.nan


def tiny(recipe: object, **changes: object) -> PretrainConfig:
    config = recipe(Path("data"), Path("out"))  # pyright: ignore
    return replace(config, spec=InputSpec(48, 4, 0.2), batch_size=4, **changes)  # pyright: ignore


def draws(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def build(recipe: object) -> Supervised | Contrastive:
    model = build_objective(tiny(recipe))
    assert isinstance(model, Supervised | Contrastive)
    return model


def test_the_supervised_loss_is_the_mean_of_the_tasks_losses() -> None:
    model = build(small_supervised)
    clips, labels = draws(4, 3, 4, 48, 48), torch.cat([draws(4, 2), torch.tensor([[0.0], [5], [12], [5]])], 1)
    output = model.head(model.encoder(clips))
    lvef, rvsp = (sum((output[i, k] - labels[i, k]) ** 2 for i in range(4)) / 4 for k in range(2))
    chances = [output[i, 2:].exp() / output[i, 2:].exp().sum() for i in range(4)]
    view = sum(-chances[i][int(labels[i, 2])].log() for i in range(4)) / 4
    (targets,) = model.targets(
        clips, [sample_mask(NO_MASK, model.encoder.grid, 4, torch.Generator())], labels
    )
    torch.testing.assert_close(model.loss(clips, None, targets), (lvef + rvsp + view) / 3)


def test_the_supervised_loss_ignores_a_missing_label_and_counts_the_clip() -> None:
    model = build(small_supervised)
    labels = torch.tensor([[NAN, 1.0, 3.0], [0.5, NAN, NAN]])
    output = draws(2, OUTPUTS).requires_grad_()
    errors = model.errors(output, labels)
    errors.mean().backward()
    assert errors[0, 0] == errors[1, 1] == errors[1, 2] == 0 and errors.count_nonzero() == 3
    assert output.grad is not None and output.grad.isfinite().all()
    missing = torch.zeros(2, OUTPUTS, dtype=torch.bool)
    missing[0, 0] = missing[1, 1:] = True
    assert torch.equal(output.grad == 0, missing)


def test_a_perfect_head_has_no_loss() -> None:
    model = build(small_supervised)
    labels = torch.tensor([[0.3, -1.0, 7.0], [2.0, 0.1, 0.0]])
    output = torch.cat([labels[:, :2], 99 * torch.eye(len(VIEWS))[labels[:, 2].long()]], 1)
    assert model.errors(output, labels).sum() == 0
    assert model.errors(output.roll(1, 0), labels).min() > 0.1


def test_the_contrastive_loss_equals_one_of_loops_that_leaves_out_what_reads_the_same() -> None:
    """Clips 0 and 2 have one report, worded in two ways."""
    model = build(small_contrastive)
    assert isinstance(model, Contrastive)
    first = torch.tensor([report({"lvef": f, "edv": 90, "rvsp": 30}, "A4C", "M") for f in (60, 20, 60, 50)])
    reports = first + torch.tensor([[0, 1, 2, 0], [1, 1, 0, 2], [2, 0, 1, 1], [0, 0, 0, 0]])
    clips = draws(4, 3, 4, 48, 48)
    seen, read = model.head(model.encoder(clips)), model.reports(reports)
    seen, read = seen - seen.mean(0), read - read.mean(0)
    sharp = 1 / 0.07
    alike = [[sharp * torch.cosine_similarity(s, r, dim=0) for r in read] for s in seen]
    total = torch.zeros(())
    for i in range(4):
        others = [j for j in range(4) if j == i or {i, j} != {0, 2}]
        total += torch.stack([alike[i][j] for j in others]).logsumexp(0) - alike[i][i]
        total += torch.stack([alike[j][i] for j in others]).logsumexp(0) - alike[i][i]
    torch.testing.assert_close(model.loss(clips, None, reports), total / 8)


def test_what_reads_the_same_is_no_negative_and_a_change_of_grade_is_one() -> None:
    model = build(small_contrastive)
    same, other = (report({"lvef": f, "edv": 90, "rvsp": 30}, "A4C", "M") for f in (60, 20))
    for second, kept in ((torch.tensor(same) + 1, 0), (torch.tensor(other) + 1, 2)):
        likeness = torch.zeros(2, 2, requires_grad=True)
        model.errors(likeness, torch.stack([torch.tensor(same), second])).sum().backward()
        assert likeness.grad is not None and likeness.grad.count_nonzero() == 2 * kept


def test_every_wording_is_of_one_grade_and_none_holds_a_number() -> None:
    spoken = PHRASES[WORDINGS:]
    assert all(phrase and set(phrase) <= set("abcdefghijklmnopqrstuvwxyz ") for phrase in spoken)
    assert len(set(spoken)) == len(spoken) and PHRASES[:WORDINGS] == ("",) * WORDINGS
    for value in (11.4, 57.2, 77.0):
        told = " ".join(PHRASES[n] for n in report({"lvef": value, "edv": value, "rvsp": value}, "A2C", "F"))
        assert told and not any(letter.isdigit() for letter in told)


def test_the_words_of_a_phrase_can_be_read_back_from_the_text_encoders_table() -> None:
    """Two phrases have the same numbers where they have the same words, and silence has none."""
    table = build(small_contrastive).reports.words  # pyright: ignore
    assert (table[:WORDINGS] == 0).all() and len(table) == len(PHRASES)
    pairs = {
        (int(n), w)
        for row, p in zip(table, PHRASES, strict=True)
        for n, w in zip(row, p.split(), strict=False)
    }
    assert len(pairs) == len(dict(pairs)) == len({word for _, word in pairs})
    assert all((row > 0).sum() == len(p.split()) for row, p in zip(table, PHRASES, strict=True))


@pytest.mark.parametrize(
    ("graded", "value", "sex", "grade"),
    [
        (FUNCTION, 29.9, None, 0), (FUNCTION, 30, "M", 1), (FUNCTION, 44.9, "F", 1), (FUNCTION, 45, None, 2),
        (FUNCTION, 55, None, 3), (SIZE, 155, "M", 0), (SIZE, 155, "F", 3), (SIZE, 105, "F", 1),
        (SIZE, 155, None, None), (SIZE, NAN, "M", None), (PRESSURE, 35.9, None, 0), (PRESSURE, 51, "O", 2),
    ],
)  # fmt: skip
def test_grades_are_the_guidelines(graded, value: float, sex: str | None, grade: int | None) -> None:
    assert graded.grade(value, sex) == (None if grade is None else graded.grades[grade])


def test_what_is_not_known_is_not_told() -> None:
    told = report({"lvef": NAN, "edv": 90, "rvsp": 60}, None, None)
    assert told[:3] == [0, 0, 0] and GRADES[told[3] // WORDINGS] == PRESSURE.grades[2]
    assert GRADES[report({"lvef": 9, "edv": 9, "rvsp": 9}, "PLAX", "M")[0] // WORDINGS] == SEEN["PLAX"]


@pytest.mark.parametrize("recipe", [small_supervised, small_contrastive])
def test_the_formulas_equal_torchs_own_counter(recipe: object) -> None:
    model, clips = build(recipe), draws(2, 3, 4, 48, 48)
    masks = [sample_mask(NO_MASK, model.encoder.grid, 2, torch.Generator())]
    assert masks[0].context_ids.shape == (2, 32) and masks[0].target_ids.shape == (2, 0)
    labels = torch.zeros(2, 3) if recipe is small_supervised else torch.tensor([[3, 60, 0, 0]] * 2)
    ours = 2 * model.flops(masks)
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as forward:
            loss = model.loss(clips, masks[0], labels)
        with FlopCounterMode(display=False) as backward:
            loss.backward()
    assert forward.get_total_flops() + backward.get_total_flops() == ours
    pixels = model.encoder.embed_flops(32)
    assert backward.get_total_flops() == 2 * (forward.get_total_flops() - pixels)
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    ("recipe", "changes", "words"),
    [
        (small_supervised, {"masks": PAPER_MASKS}, "see whole clips"),
        (small, {"masks": (*PAPER_MASKS, NO_MASK)}, "see whole clips"),
        (small_contrastive, {"targets": "sector"}, "predicts no hidden tokens"),
        (small_contrastive, {"microbatch": 2}, "all others of its batch"),
    ],
)
def test_settings_that_do_not_go_with_labels_are_refused(
    recipe: object, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        tiny(recipe, **changes)


def test_moments_are_torch_s_and_what_stands_still_has_a_gradient() -> None:
    tokens = torch.randn(3, 8 * 6, 5, generator=torch.Generator().manual_seed(0))
    tokens[0, ::6] = 7.0
    slots, own = tokens.clone().requires_grad_(), tokens.clone().requires_grad_()
    expected = torch.cat(
        [slots.unflatten(1, (8, 6)).mean(1), slots.unflatten(1, (8, 6)).std(1, correction=0)], 1
    )
    made = moments(own, (8, 2, 3))
    torch.testing.assert_close(made, expected, atol=1e-6, rtol=1e-5)
    expected.square().sum().backward()
    made.square().sum().backward()
    torch.testing.assert_close(own.grad, slots.grad, atol=1e-6, rtol=1e-5)
