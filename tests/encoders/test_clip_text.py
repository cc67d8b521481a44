"""CLIP's text tower beside transformers' own."""

import pytest
import torch

from diptych.encoders.clip_text import CLIPText, clip_text
from diptych.models.layouts_diffusers import CLIP_TEXT

transformers = pytest.importorskip("transformers")
SIZES = {
    "vocab_size": 20,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "projection_dim": 12,
    "max_position_embeddings": 9,
}
IDS = torch.tensor([[0, 4, 3, 19, 19, 19, 19, 19, 19], [0, 4, 18, 2, 3, 18, 1, 1, 1], [5, 4, 3, 2, 7, 5, 1, 1, 1]])


@pytest.mark.parametrize("eos", [2, 18, 19])
@pytest.mark.parametrize("act", ["gelu", "quick_gelu"])
def test_as_in_transformers(eos: int, act: str) -> None:
    """eos 2 stands for "the largest id" there too."""
    config = transformers.CLIPTextConfig(**SIZES, hidden_act=act, eos_token_id=eos, bos_token_id=0, pad_token_id=1)
    torch.manual_seed(0)
    theirs = transformers.CLIPTextModelWithProjection(config).eval()
    ours = CLIPText(clip_text(SIZES | {"hidden_act": act, "eos_token_id": eos}))
    ours.load_state_dict(CLIP_TEXT.read(theirs.state_dict()))
    with torch.inference_mode():
        states = ours(IDS)
        expected = theirs(IDS, output_hidden_states=True)
    torch.testing.assert_close(states.hidden, expected.hidden_states[-2], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(states.pooled, expected.text_embeds, atol=1e-5, rtol=1e-5)


def test_sizes_left_out_of_a_config() -> None:
    """Are what transformers takes them for."""
    ours, theirs = clip_text({}), transformers.CLIPTextConfig()
    assert (ours.vocab, ours.length, ours.width, ours.depth) == (49408, 77, theirs.hidden_size, 12)
    assert (ours.hidden, ours.heads) == (theirs.intermediate_size, theirs.num_attention_heads)
    assert (ours.projection, ours.eos, ours.eps) == (theirs.projection_dim, theirs.eos_token_id, theirs.layer_norm_eps)
    assert ours.activation.replace("-", "_") == theirs.hidden_act


def test_a_mask_token_is_one_id_more() -> None:
    """It is embedded apart; its id is the largest, so that a masked text is pooled at its first mask."""
    tower = CLIPText(clip_text(SIZES | {"eos_token_id": 2}, mask=True))
    assert tower.mask is not None
    torch.nn.init.normal_(tower.mask)
    ids = torch.tensor([[0, 4, 20, 19, 20, 20, 20, 20, 20]])
    torch.testing.assert_close(tower.embed(ids)[0, 4], tower.mask + tower.position[4])
    torch.testing.assert_close(tower.embed(ids)[0, 3], tower.table.weight[19] + tower.position[3])
    assert tower.pooled_at(ids).tolist() == [2]
