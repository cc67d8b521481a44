"""Objects encoded by themselves: the same codes wherever they stand."""

from dataclasses import replace

import pytest
import torch

from diptych.data.worlds.emoji import EmojiWorld, Scene
from diptych.data.worlds.emoji.scene import Thing, straightened
from diptych.errors import TrainingError
from diptych.models.vq_models import vq16
from diptych.training.apart import NOTHING, Apart, apart, block
from diptych.training.pictures import rendered, signed

PARAMS = {"image_token_size": 64, "n_embed": 8, "ch": 8, "ch_mult": [1, 1, 2, 2], "num_res_blocks": 1}
PARAMS |= {"z_channels": 16, "num_groups": 4}


@pytest.fixture(scope="module")
def tokenizer():
    torch.manual_seed(0)
    return vq16(PARAMS).eval()


def scenes(count: int) -> list[Scene]:
    kinds = {"multi": 1, "count": 1, "two": 1, "single": 1}
    return [EmojiWorld(3).drawing(i, "en", True, kinds).scene for i in range(count)]


def test_an_object_is_the_same_codes_wherever_and_beside_whatever(tokenizer) -> None:
    put = Apart(lambda pixels: tokenizer.encode(pixels).flatten(1), 64, 8)
    car, other = Thing("car", "red", 48, 48, 96), Thing("cat", None, 208, 208, 96)
    alone, beside = Scene("noto", "white", (car,)), Scene("noto", "black", (replace(car, x=208), other))
    first, second = (canvas.view(8, 8) for canvas in put([alone, beside]))
    assert torch.equal(first[:3, :3], second[:3, 5:])
    assert len(first[3:].unique()) == 1 and len(second[3:, :5].unique()) == 1  # empty canvas is one code


@torch.no_grad()
def test_codes_and_latents_agree(tokenizer) -> None:
    shown = scenes(12)
    latents = apart(tokenizer.latent, tokenizer.factor, signed(rendered(shown, 64, NOTHING)), shown)
    codes = tokenizer.quantiser.encode(latents).flatten(1)
    put = Apart(lambda pixels: tokenizer.encode(pixels).flatten(1), 64, 8)
    same = torch.stack(put(shown)) == codes
    assert same.float().mean() > 0.999  # sums of batches may differ in the last bits


def test_every_straightened_scene_stands_on_the_grid() -> None:
    world = EmojiWorld(4)
    edited = [world.edit(i, "en").target for i in range(100)]
    told = [scene for i in range(50) for _, scene in world.story(i, "en", tidy=True).frames]
    for scene in [*scenes(300), *map(straightened, edited + told)]:
        taken = set()
        for thing in scene.objects:
            y, x, width = block(thing, 8)
            cells = {(y + i, x + j) for i in range(width) for j in range(width)}
            assert not cells & taken and max(y, x) + width <= 8
            taken |= cells


def test_what_is_off_the_grid_is_named() -> None:
    with pytest.raises(TrainingError, match=r"car at \(50, 48\), 96 large, is not on a grid of 8 codes"):
        block(Thing("car", None, 50, 48, 96), 8)
