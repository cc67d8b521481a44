"""Feature networks: CLIP against transformers' own path, and FID's Inception by structure and by file."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

pytest.importorskip("transformers")

from diptych.errors import BenchmarkError
from diptych.evaluation import inception, networks
from diptych.evaluation.features import frechet_distance, inception_score
from diptych.evaluation.networks import Clip, features, find
from tests.evaluation import tiny_models

PICTURES = [Image.new("RGB", (40, 24), color) for color in ("red", "blue", "white")]


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    return tiny_models.clip(tmp_path_factory.mktemp("models") / "clip")


def test_clip_gives_what_transformers_gives(clip_folder):
    clip = Clip(str(clip_folder))
    pixels = networks.normalised(networks.planes(networks._centre(PICTURES[0], 16)))[None]
    with torch.inference_mode():
        theirs = clip.model.get_image_features(pixel_values=pixels)
    theirs = getattr(theirs, "pooler_output", theirs)
    np.testing.assert_allclose(clip.images(PICTURES[:1]), theirs.double().numpy(), atol=1e-6)
    words = clip.tokenizer(["a red dog"], return_tensors="pt")
    with torch.inference_mode():
        theirs = clip.model.get_text_features(words["input_ids"], attention_mask=words["attention_mask"])
    theirs = getattr(theirs, "pooler_output", theirs)
    np.testing.assert_allclose(clip.texts(["a red dog"]), theirs.double().numpy(), atol=1e-6)
    assert clip.texts(["a dog " * 40]).shape == (1, 8), "what is too long is cut off"


def test_the_centre_is_kept_of_a_longer_side():
    stripes = Image.new("RGB", (60, 20), "black")
    stripes.paste("white", (20, 0, 40, 20))
    middle = networks._centre(stripes, 10)
    assert middle.size == (10, 10) and middle.getpixel((5, 5)) == (255, 255, 255)
    assert networks._centre(Image.new("RGB", (33, 50)), 16).size == (16, 16)


def test_features_by_name(clip_folder):
    found = features(PICTURES, f"clip={clip_folder}")
    assert found.shape == (3, 8) and found.dtype == np.float64
    assert frechet_distance(found, found) == pytest.approx(0, abs=1e-6)
    with pytest.raises(BenchmarkError, match="nothing to take features of"):
        features([], f"clip={clip_folder}")
    for wrong in ("dino", "inception", "inception="):
        with pytest.raises(BenchmarkError, match="unknown feature network"):
            find(wrong)


def test_inception_has_the_published_number_of_weights():
    """InceptionV3 without its second head, with 1008 classes: 23,834,568 + 8 x 2,049."""
    with torch.device("meta"):
        network = inception.InceptionV3()
    assert sum(parameter.numel() for parameter in network.parameters()) == 23_834_568 + 8 * 2049
    names = set(network.state_dict())
    assert {
        "Conv2d_1a_3x3.conv.weight",
        "Mixed_6e.branch7x7dbl_5.bn.running_var",
        "Mixed_7c.branch_pool.conv.weight",
    } < names


def test_pools_leave_the_padding_out_and_the_last_block_takes_the_most():
    ones = torch.ones(1, 1, 4, 4)
    assert torch.equal(inception.mean_pool(ones), ones)
    with torch.device("meta"):
        network = inception.InceptionV3()
    assert network.Mixed_7b.pool is inception.mean_pool and network.Mixed_7c.pool is inception.max_pool


def test_inception_from_a_file(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "inception.safetensors"
    network = inception.InceptionV3()
    tensors = {name: tensor for name, tensor in network.state_dict().items() if "num_batches" not in name}
    save_file(tensors, path)
    loaded = find(f"inception={path}", "cpu")
    found = loaded.images(PICTURES[:2])
    assert found.shape == (2, 2048) and np.isfinite(found).all()
    network.eval()
    with torch.inference_mode():
        white = network(torch.ones(1, 3, 299, 299))
    np.testing.assert_allclose(loaded.images([PICTURES[2]]), white.double().numpy(), rtol=1e-3, atol=1e-13)
    assert isinstance(loaded, inception.Inception)
    logits = loaded.logits(PICTURES[:2])
    np.testing.assert_allclose(logits, found @ network.fc.weight.detach().double().numpy().T, rtol=1e-3, atol=1e-6)
    assert inception_score(logits, splits=1).mean >= 1
    save_file({"fc.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(BenchmarkError, match="does not hold FID's InceptionV3"):
        find(f"inception={path}")
    with pytest.raises(BenchmarkError, match="does not hold"):
        find(f"inception={tmp_path}/none.safetensors")
