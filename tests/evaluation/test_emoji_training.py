"""Training the judge: crops that mean what they say, and a loop that learns and saves."""

import torch

from diptych.data.worlds.emoji.rules import STYLES
from diptych.evaluation.emoji.classifier import IDS, PAINTS, GlyphClassifier, load_classifier
from diptych.evaluation.emoji.corruptions import coarse_patches, from_blocks, jpeg, to_blocks
from diptych.evaluation.emoji.train_judge import learning_rate, loss_of, save
from diptych.evaluation.emoji.training_crops import CropSource


def test_crops_repeat_and_stay_in_range() -> None:
    first, second = CropSource(1).batch(8), CropSource(1).batch(8)
    assert torch.equal(first.pixels, second.pixels) and torch.equal(first.objects, second.objects)
    assert first.pixels.shape == (8, 3, 32, 32)
    assert first.pixels.min() >= -0.03 and first.pixels.max() <= 1.03
    assert int(first.objects.max()) < len(IDS) and int(first.colors.max()) < len(PAINTS)
    assert int(first.styles.max()) < len(STYLES)


def test_the_trained_judge_knows_the_crops() -> None:
    source, net = CropSource(99), load_classifier()
    with torch.no_grad():
        right = torch.tensor([loss_of(net, source.batch(32))[1] for _ in range(8)]).mean(0)
    assert right[0] > 0.9 and right[1] > 0.85 and right[2] > 0.7


def test_blocks_are_reversible_and_jpeg_is_near() -> None:
    picture = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(from_blocks(to_blocks(picture)), picture, atol=1e-5)
    smooth = torch.linspace(0, 1, 20).expand(1, 3, 20, 20)
    assert jpeg(smooth, 90).shape == smooth.shape
    assert float((jpeg(smooth, 90) - smooth).abs().max()) < 0.06
    assert float((jpeg(smooth, 90) - smooth).abs().mean()) < float((jpeg(smooth, 10) - smooth).abs().mean())


def test_coarse_patches_lose_detail_and_a_tenth_of_brightness_at_most() -> None:
    rng = torch.Generator().manual_seed(0)
    picture = torch.rand(1, 3, 32, 32, generator=rng)
    for _ in range(10):
        coarse = coarse_patches(picture, rng)
        assert coarse.shape == picture.shape
        assert 0.88 < float(coarse.mean() / picture.mean()) < 1.02
        assert float(coarse.std()) < 0.8 * float(picture.std())


def test_the_rate_rises_then_falls() -> None:
    assert learning_rate(0, 0.0) < learning_rate(30, 0.05) < learning_rate(100, 0.1)
    assert learning_rate(1000, 0.2) > learning_rate(1000, 0.5) > learning_rate(1000, 1.0) > 0


def test_saved_weights_judge_alike(tmp_path) -> None:
    torch.manual_seed(0)
    net, crops = GlyphClassifier().eval(), CropSource(3).batch(4).pixels
    save(net, tmp_path / "judge.safetensors", {"seed": "3"})
    again = load_classifier(tmp_path / "judge.safetensors")
    with torch.no_grad():
        assert torch.allclose(again(crops).objects, net(crops).objects, atol=2e-2)
    assert [path.name for path in tmp_path.iterdir()] == ["judge.safetensors"]
