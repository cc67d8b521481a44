"""Layouts: names both ways, and every way in which a checkpoint and a model can fail to fit."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diptych.errors import WeightsError
from diptych.weights.layout import DROP, Layout, cut, mot, shaped, squeezed, transposed, unsqueezed

BLOCK = Layout(
    {
        "patch.weight": shaped("patch.weight", 3, 2, 2),
        "pos_embed": squeezed("position"),
        "layers.#.qkv.*": cut("blocks.#.q.*", "blocks.#.k.*", "blocks.#.v.*"),
        "layers.#.kv.*": cut("blocks.#.key.*", "blocks.#.value.*", sizes=(2, 4)),
        "layers.#.fc1.*": "blocks.#.up.*",
        "layers.#.conv1d.weight": transposed("blocks.#.mix.weight"),
        "layers.#.point.weight": unsqueezed("blocks.#.point.weight", 2),
        "inv_freq": DROP,
    }
)


def checkpoint(layers: int = 2) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    tensors = {"patch.weight": torch.randn(5, 3, 2, 2), "pos_embed": torch.randn(1, 7, 5), "inv_freq": torch.randn(3)}
    for i in range(layers):
        tensors[f"layers.{i}.qkv.weight"] = torch.randn(6, 4)
        tensors[f"layers.{i}.kv.bias"] = torch.randn(6)
        tensors[f"layers.{i}.fc1.weight"] = torch.randn(3, 2)
        tensors[f"layers.{i}.conv1d.weight"] = torch.randn(3, 2)
        tensors[f"layers.{i}.point.weight"] = torch.randn(3, 2)
    return tensors


def shapes(tensors):
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def test_read_gives_our_names_and_shapes():
    ours = shapes(BLOCK.read(checkpoint(1)))
    assert ours == {
        "patch.weight": (5, 12),
        "position": (7, 5),
        "blocks.0.q.weight": (2, 4),
        "blocks.0.k.weight": (2, 4),
        "blocks.0.v.weight": (2, 4),
        "blocks.0.key.bias": (2,),
        "blocks.0.value.bias": (4,),
        "blocks.0.up.weight": (3, 2),
        "blocks.0.mix.weight": (2, 3),
        "blocks.0.point.weight": (3, 2, 1),
    }


def test_write_is_the_inverse_bit_for_bit():
    theirs = checkpoint()
    back = BLOCK.write(BLOCK.read(theirs), theirs)
    assert back.keys() == theirs.keys() - {"inv_freq"}
    assert all(torch.equal(back[name], theirs[name]) for name in back)


@given(st.data())
def test_random_layouts_round_trip(data):
    """Any rules over any numbers of layers: reading then writing is the identity."""
    kinds = {
        "same": lambda n: (f"{n}.#.*", f"our.{n}.#.*"),
        "cut": lambda n: (f"{n}.#.*", cut(f"our.{n}.#.a.*", f"our.{n}.#.b.*")),
        "turned": lambda n: (f"{n}.#.x#.weight", f"our.{n}.#2.x#1.weight"),
        "shaped": lambda n: (f"{n}.#.weight", shaped(f"our.{n}.#.weight", 3, 1)),
    }
    chosen = [(f"part{i}", data.draw(st.sampled_from(sorted(kinds)))) for i in range(data.draw(st.integers(1, 5)))]
    layout = Layout(dict(kinds[kind](name) for name, kind in chosen))
    theirs = {}
    for name, kind in chosen:
        for number in data.draw(st.sets(st.integers(0, 120), min_size=1, max_size=4)):
            for ending in ("weight",) if kind in ("turned", "shaped") else ("weight", "deep.bias"):
                middle = f".x{data.draw(st.integers(0, 20))}" if kind == "turned" else ""
                theirs[f"{name}.{number}{middle}.{ending}"] = torch.rand(4, 3, 1)
    ours = layout.read(theirs)
    back = layout.write(ours, theirs)
    assert all(torch.equal(back[name], theirs[name]) for name in theirs) and back.keys() == theirs.keys()


def test_numbers_may_come_in_another_order():
    (claim,) = Layout({"stage.#.block.#.*": "blocks.#2.stages.#1.*"}).claims(["stage.3.block.11.norm.weight"])
    assert claim.ours == ("blocks.11.stages.3.norm.weight",)


def test_digits_in_names_are_no_numbers():
    layout = Layout({"mlp.fc1.*": "up.*", "mlp.fc2.*": "down.*", "mlp.#.*": "layers.#.*"})
    found = [claim.ours[0] for claim in layout.claims(["mlp.fc2.bias", "mlp.2.bias", "mlp.fc1.bias"])]
    assert found == ["down.bias", "layers.2.bias", "up.bias"]


def test_points_are_no_wildcards():
    with pytest.raises(WeightsError, match="does not know: aXb"):
        Layout({"a.b": "c"}).claims(["aXb"])


def test_under_moves_both_sides():
    moved = BLOCK.under("vision.", "see.")
    assert moved.claims(["vision.layers.1.fc1.bias"])[0].ours == ("see.blocks.1.up.bias",)
    assert moved.claims(["vision.inv_freq"])[0].rule is None


def test_only_takes_a_part():
    assert Layout({"blocks.#.*": "b.#.*", "head.*": "h.*"}).only("blocks.").rules.keys() == {"blocks.#.*"}


def test_two_rules_for_one_name_cannot_be_joined():
    with pytest.raises(ValueError, match="inv_freq"):
        BLOCK | Layout({"inv_freq": "table"})


def test_mixture_of_transformers():
    layout = mot(
        Layout(
            {
                "model.embed_tokens.*": "embed.*",
                "model.layers.#.self_attn.q_proj.*": "blocks.#.q.*",
                "model.layers.#.mlp.up_proj.*": "blocks.#.up.*",
                "model.norm.*": "norm.*",
            }
        ),
        "_gen",
    )
    targets = {
        "model.embed_tokens.weight": "embed.weight",
        "model.layers.4.self_attn.q_proj.bias": "blocks.4.q.experts.0.bias",
        "model.layers.4.self_attn.q_proj_gen.bias": "blocks.4.q.experts.1.bias",
        "model.layers.4.mlp.up_proj.weight": "blocks.4.up.experts.0.weight",
        "model.layers.4.mlp_gen.up_proj.weight": "blocks.4.up.experts.1.weight",
        "model.norm_gen.weight": "norm.experts.1.weight",
    }
    assert {claim.theirs: claim.ours[0] for claim in layout.claims(targets)} == targets


def fitting():
    theirs = checkpoint()
    return shapes(theirs), shapes(BLOCK.read(theirs))


def test_fitting_shapes_pass():
    theirs, ours = fitting()
    assert len(BLOCK.check(theirs, ours)) == len(theirs)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t, o: t.update({"layers.0.new.weight": (1,)}), "does not know: layers.0.new.weight"),
        (lambda t, o: t.pop("layers.1.qkv.weight"), "without a tensor in the checkpoint: blocks.1.q.weight"),
        (
            lambda t, o: o.update({"blocks.9.up.weight": (3, 2)}),
            "without a tensor in the checkpoint: blocks.9.up.weight",
        ),
        (lambda t, o: o.pop("blocks.0.up.weight"), "does not have: layers.0.fc1.weight -> blocks.0.up.weight"),
        (lambda t, o: t.update({"layers.0.fc1.weight": (3, 9)}), r"\[3, 9\] for blocks.0.up.weight.* \[3, 2\]"),
        (lambda t, o: t.update({"layers.0.qkv.weight": (7, 4)}), "7 rows cannot be cut into 3"),
        (lambda t, o: t.update({"layers.0.kv.bias": (5,)}), "layers.0.kv.bias: shape"),
        (lambda t, o: t.update({"pos_embed": (2, 7, 5)}), "length 2, not 1"),
        (lambda t, o: t.update({f"x{i}": (1,) for i in range(9)}), "x0, x1, x2, x3 and 5 more"),
    ],
)
def test_whatever_does_not_fit_is_named(spoil, message):
    theirs, ours = fitting()
    spoil(theirs, ours)
    with pytest.raises(WeightsError, match=message):
        BLOCK.check(theirs, ours)


def test_two_rules_on_one_name():
    layout = Layout({"blocks.#.*": "a.#.*", "blocks.#.norm.*": "b.#.*"})
    with pytest.raises(WeightsError, match=re.escape("blocks.1.norm.weight by blocks.#.*, blocks.#.norm.*")):
        layout.claims(["blocks.1.norm.weight"])


def test_two_sources_of_one_parameter():
    with pytest.raises(WeightsError, match="head.weight by a.weight and b.weight"):
        Layout({"a.*": "head.*", "b.*": "head.*"}).claims(["a.weight", "b.weight"])


def test_writing_needs_every_part():
    ours = BLOCK.read(checkpoint(1))
    del ours["blocks.0.k.weight"]
    with pytest.raises(WeightsError, match="layers.0.qkv.weight cannot be written: the model has no blocks.0.k.weight"):
        BLOCK.write(ours, checkpoint(1))
