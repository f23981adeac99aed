"""Claims about the objective, each proved against plain code."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from echojepa.config import PAPER_LATENT, PAPER_MASKS, Architecture, InputSpec, LatentConfig
from echojepa.models.jepa import JEPA, RunningStatistics
from echojepa.models.masking import Mask, sample_mask
from echojepa.models.predictor import Predictor, PredictorShape
from echojepa.models.vit import VisionTransformer

SPEC = InputSpec(size=96, frames=4, seconds=1.0)


def make_jepa(latent: LatentConfig = PAPER_LATENT) -> JEPA:
    generator = torch.Generator().manual_seed(0)
    encoder = VisionTransformer(Architecture("micro", patch=8), SPEC, generator)
    return JEPA(
        encoder,
        Predictor(encoder.width, encoder.grid, PredictorShape(64, 2, 4, encoder.width), "vjepa2", generator),
        latent,
    )


def make_batch(model: JEPA, seed: int = 1) -> tuple[Tensor, list[Mask]]:
    generator = torch.Generator().manual_seed(seed)
    clips = torch.randn(2, 3, SPEC.frames, SPEC.size, SPEC.size, generator=generator)
    return clips, [sample_mask(mask, model.encoder.grid, 2, generator) for mask in PAPER_MASKS]


def mean_loss(model: JEPA, clips: Tensor, masks: list[Mask]) -> Tensor:
    """The loss of a step: the mean over mask types."""
    targets = model.targets(clips, masks)
    return torch.stack([model.loss(clips, *pair) for pair in zip(masks, targets, strict=True)]).mean()


def test_loss_and_gradients_equal_a_plain_reference() -> None:
    model = make_jepa()
    clips, masks = make_batch(model)
    with torch.no_grad():  # a fresh encoder ends in a plain layer norm, which would hide the targets' own
        model.target_encoder.norm.weight.uniform_(0.5, 2.0)
        model.target_encoder.norm.bias.normal_()
    total = torch.zeros(())
    for mask in masks:
        for b in range(2):
            visible, hidden = mask.context_ids[b], mask.target_ids[b]
            everything = model.target_encoder(clips[b : b + 1])[0].detach()
            mean, variance = everything.mean(1, keepdim=True), everything.var(1, keepdim=True, unbiased=False)
            target = ((everything - mean) / (variance + 1e-5).sqrt())[hidden]
            context = model.encoder(clips[b : b + 1], visible[None])
            predicted = model.predictor(context, visible[None], hidden[None])[0]
            total += (predicted - target).abs().mean() / (2 * len(masks))
    loss = mean_loss(model, clips, masks)
    torch.testing.assert_close(loss, total, rtol=1e-5, atol=1e-6)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    pairs = zip(torch.autograd.grad(loss, trained), torch.autograd.grad(total, trained), strict=True)
    for mine, plain in pairs:
        torch.testing.assert_close(mine, plain, rtol=1e-4, atol=1e-7)


def test_gradient_reaches_encoder_and_predictor_but_never_the_target_encoder() -> None:
    model = make_jepa()
    clips, masks = make_batch(model)
    mean_loss(model, clips, masks).backward()
    assert all(p.grad is None for p in model.target_encoder.parameters())
    for part in (model.encoder, model.predictor):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())


def test_ema_at_one_keeps_and_at_zero_copies_and_between_mixes() -> None:
    model = make_jepa()
    before = [p.clone() for p in model.target_encoder.parameters()]
    with torch.no_grad():
        for p in model.encoder.parameters():
            p.add_(1.0)
    model.update_ema(1.0)
    assert all(torch.equal(a, b) for a, b in zip(before, model.target_encoder.parameters(), strict=True))
    model.update_ema(0.75)
    for old, new in zip(before, model.target_encoder.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.25)
    model.update_ema(0.0)
    for source, target in zip(model.encoder.parameters(), model.target_encoder.parameters(), strict=True):
        assert torch.equal(source, target)


def test_hidden_pixels_do_not_reach_the_prediction() -> None:
    model = make_jepa()
    clips, masks = make_batch(model)
    mask = masks[0]
    context = model.encoder(clips, mask.context_ids)
    hidden = torch.ones(2, context.shape[1] * 0 + 2 * 12 * 12, dtype=torch.bool)
    hidden.scatter_(1, mask.context_ids, False)
    picture = hidden.view(2, 1, 2, 12, 12).repeat_interleave(2, 2)
    picture = F.interpolate(picture.float().flatten(1, 2), scale_factor=8).bool().unsqueeze(1)
    noisy = torch.where(picture, torch.randn_like(clips) * 9, clips)
    assert not torch.equal(noisy, clips)
    torch.testing.assert_close(model.encoder(noisy, mask.context_ids), context)


def test_mask_types_one_at_a_time_leave_the_same_gradients_to_the_bit() -> None:
    model = make_jepa()
    clips, masks = make_batch(model)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    mean_loss(model, clips, masks).backward()
    together = [parameter.grad for parameter in trained]
    model.zero_grad()
    for mask, wanted in zip(masks, model.targets(clips, masks), strict=True):
        (model.loss(clips, mask, wanted) / len(masks)).backward()
    for one, parameter in zip(together, trained, strict=True):
        assert one is not None and parameter.grad is not None and torch.equal(one, parameter.grad)


def test_centred_targets_lack_the_running_mean_of_each_position_and_only_training_moves_it() -> None:
    plain, centred = make_jepa(), make_jepa(LatentConfig(centred=True))
    (clips, masks), (others, _) = make_batch(plain), make_batch(plain, seed=2)
    every = Mask(masks[0].context_ids, torch.arange(2 * 12 * 12).expand(2, -1), 0)
    first, second = (plain.targets(x, [every])[0] for x in (clips, others))
    torch.testing.assert_close(centred.targets(clips, [every])[0], first - first.mean(0))
    mean = (first.mean(0) + second.mean(0)) / 2
    torch.testing.assert_close(centred.targets(others, [every])[0], second - mean)
    centred.eval()
    for _ in range(2):
        torch.testing.assert_close(centred.targets(clips, [every])[0], first - mean)
    added = centred.state_dict().keys() - plain.state_dict().keys()
    assert added == {f"statistics.{name}" for name in ("mean", "variance", "steps")}


def test_the_statistics_of_targets_forget_old_steps() -> None:
    statistics = RunningStatistics(3, 4, LatentConfig(centred=True))
    for _ in range(50):
        statistics(torch.zeros(2, 3, 4))
    for _ in range(300):
        statistics(torch.ones(2, 3, 4))
    assert 0.9 < statistics.mean.min().item() < 1


def test_scaled_targets_have_the_same_spread_in_every_channel_however_small_they_were() -> None:
    statistics = RunningStatistics(3, 4, LatentConfig(centred=True, scaled=True))
    spread = torch.tensor([0.01, 0.1, 1.0, 10.0])
    made = [statistics(torch.randn(64, 3, 4) * spread + 5) for _ in range(200)][-50:]
    torch.testing.assert_close(torch.cat(made).std((0, 1)), torch.ones(4), rtol=0.15, atol=0)


def test_targets_of_all_layers_are_the_mean_of_what_each_block_gives() -> None:
    last, every = make_jepa(), make_jepa(LatentConfig(layers="all"))
    clips, masks = make_batch(last)
    found: list[Tensor] = []
    for block in every.target_encoder.blocks:
        block.register_forward_hook(lambda _, given, x: found.append(F.layer_norm(x, x.shape[-1:])))
    targets = every.targets(clips, masks)[0]
    wanted = torch.stack(found).mean(0)
    wanted = F.layer_norm(wanted, wanted.shape[-1:]).gather(
        1, masks[0].target_ids.unsqueeze(-1).expand(-1, -1, wanted.shape[-1])
    )
    torch.testing.assert_close(targets, wanted)
    assert not torch.allclose(targets, last.targets(clips, masks)[0], atol=0.1)


def test_the_still_share_of_targets_is_each_places_mean_over_time() -> None:
    plain, half, moving = (make_jepa(LatentConfig(still_share=share)) for share in (1.0, 0.5, 0.0))
    clips, masks = make_batch(plain)
    every = Mask(masks[0].context_ids, torch.arange(2 * 12 * 12).expand(2, -1), 0)
    whole, halved, changing = (
        m.targets(clips, [every])[0].view(2, 2, 144, -1) for m in (plain, half, moving)
    )
    torch.testing.assert_close(changing, whole - whole.mean(1, keepdim=True))
    torch.testing.assert_close(halved.mean(1), whole.mean(1) / 2)
    torch.testing.assert_close(halved - halved.mean(1, keepdim=True), changing)
