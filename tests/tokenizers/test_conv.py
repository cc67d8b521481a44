"""One conv module against four published autoencoders, and what every one of them promises."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from diptych.errors import InputError
from diptych.tokenizers.conv import ConvConfig, Decoder, Encoder, Level, compvis, pointwise
from diptych.tokenizers.latents import LatentTokenizer, kl_tokenizer
from diptych.weights.layout import DROP, Layout, unsqueezed
from tests.parity.sets import GoldenSet, close, root

BLOCK = ("norm1", "conv1", "norm2", "conv2")
ENDS = {f"{name}.*": f"{name}.*" for name in ("conv_in", "norm_out", "conv_out")}


def compvis_layout(levels: int) -> Layout:
    """CompVis' names; its decoder counts levels from the finest, ours in the order in which they are applied."""

    def half(theirs: str, number: int | str, ours: int | str, resample: str) -> dict[str, str]:
        parts = {f"{theirs}.{number}.block.#.{n}.*": f"levels.{ours}.blocks.#.{n}.*" for n in BLOCK}
        parts[f"{theirs}.{number}.block.#.nin_shortcut.*"] = f"levels.{ours}.blocks.#.shortcut.*"
        parts |= {
            f"{theirs}.{number}.attn.#.{n}.*": f"levels.{ours}.attention.#.{n}.*" for n in ("norm", "q", "k", "v")
        }
        parts[f"{theirs}.{number}.attn.#.proj_out.*"] = f"levels.{ours}.attention.#.out.*"
        return parts | {f"{theirs}.{number}.{resample}.conv.*": f"levels.{ours}.resample.conv.*"}

    middle = {f"mid.attn_1.{n}.*": f"middle.attention.{n}.*" for n in ("norm", "q", "k", "v")}
    middle |= {"mid.attn_1.proj_out.*": "middle.attention.out.*"}
    middle |= {f"mid.block_{i}.*": f"middle.block{i}.*" for i in (1, 2)}
    encoder = Layout(half("down", "#", "#", "downsample") | middle | ENDS)
    decoder = Layout(middle | ENDS)
    for i in range(levels):
        decoder |= Layout(half("up", i, levels - 1 - i, "upsample"))
    convs = Layout({"quant_conv.*": "quant_conv.*", "post_quant_conv.*": "post_quant_conv.*"})
    return encoder.under("encoder.", "encoder.") | decoder.under("decoder.", "decoder.") | convs


def diffusers_layout() -> Layout:
    """diffusers' AutoencoderKL: the same parts, attention as linear layers, decoder levels as they are applied."""

    def half(blocks: str, resample: str) -> Layout:
        rules: dict = {f"{blocks}.#.resnets.#.{n}.*": f"levels.#.blocks.#.{n}.*" for n in BLOCK}
        rules[f"{blocks}.#.resnets.#.conv_shortcut.*"] = "levels.#.blocks.#.shortcut.*"
        rules[f"{blocks}.#.{resample}.0.conv.*"] = "levels.#.resample.conv.*"
        rules |= {f"mid_block.resnets.{i}.*": f"middle.block{i + 1}.*" for i in (0, 1)}
        rules["mid_block.attentions.0.group_norm.*"] = "middle.attention.norm.*"
        for theirs, ours in (("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "out")):
            rules[f"mid_block.attentions.0.{theirs}.bias"] = f"middle.attention.{ours}.bias"
            rules[f"mid_block.attentions.0.{theirs}.weight"] = pointwise_weight(f"middle.attention.{ours}.weight")
        ends = {"conv_in.*": "conv_in.*", "conv_norm_out.*": "norm_out.*", "conv_out.*": "conv_out.*"}
        return Layout(rules | ends)

    convs = Layout({"quant_conv.*": "quant_conv.*", "post_quant_conv.*": "post_quant_conv.*"})
    encoder = half("down_blocks", "downsamplers").under("encoder.", "encoder.")
    return encoder | half("up_blocks", "upsamplers").under("decoder.", "decoder.") | convs


def pointwise_weight(ours: str):
    """A linear layer [out, in] that is our 1x1 convolution [out, in, 1, 1]."""
    rule = unsqueezed(ours, -1)
    return type(rule)(rule.ours, lambda t: [t[..., None, None]], lambda parts: parts[0][..., 0, 0])


def loaded(module: nn.Module, layout: Layout, weights: dict[str, Tensor]) -> nn.Module:
    module.load_state_dict(layout.read(weights))
    return module.requires_grad_(False)


def under(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


def harmon() -> LatentTokenizer:
    folder = root() / "harmon"
    sizes = json.loads((folder / "config.json").read_text())["vae"]
    multipliers, deepest = tuple(sizes["ch_mult"]), len(sizes["ch_mult"]) - 1
    halves = compvis(
        sizes["ch"], multipliers, 2, sizes["embed_dim"], attention=(deepest,), decoder_attention=(), double=True,
        groups=sizes["num_groups"],
    )  # fmt: skip
    weights = under(load_file(folder / "model.safetensors"), "vae.")
    return loaded(kl_tokenizer(*halves, scale=0.2325), compvis_layout(len(multipliers)), weights)


def bagel() -> LatentTokenizer:
    folder = root() / "bagel"
    sizes = json.loads((folder / "config.json").read_text())["vae_config"]
    multipliers = tuple(sizes["ch_mult"])
    halves = compvis(sizes["ch"], multipliers, sizes["num_res_blocks"], sizes["z_channels"], double=True)
    built = kl_tokenizer(*halves, scale=sizes["scale_factor"], shift=sizes["shift_factor"], pointwise_convs=False)
    return loaded(built, compvis_layout(len(multipliers)), load_file(folder / "ae.safetensors"))


def sdxl() -> LatentTokenizer:
    folder = root() / "janusflow/sdxl-vae"
    sizes = json.loads((folder / "config.json").read_text())
    widths = sizes["block_out_channels"]
    multipliers = tuple(width // widths[0] for width in widths)
    halves = compvis(
        widths[0], multipliers, sizes["layers_per_block"], sizes["latent_channels"], double=True,
        groups=sizes["norm_num_groups"],
    )  # fmt: skip
    weights = load_file(folder / "diffusion_pytorch_model.safetensors")
    return loaded(kl_tokenizer(*halves, scale=sizes["scaling_factor"]), diffusers_layout(), weights)


def test_kl16_of_mar():
    cases, vae = GoldenSet(root() / "harmon").cases, harmon()
    pixels, expected = cases["vae"].inputs["pixels"], cases["vae"].outputs
    mean, logvar = vae.moments(pixels)
    close(mean, expected["mean"], name="mean")
    close(logvar, expected["logvar"], name="logvar")
    close(vae.encode(pixels).movedim(1, -1), expected["latents"], name="latents")
    decoded = vae.decode(cases["vae_decode"].inputs["latents"].movedim(-1, 1))
    close(decoded, cases["vae_decode"].outputs["pixels"], name="pixels")


def test_flux():
    cases, vae = GoldenSet(root() / "bagel").cases, bagel()
    inputs, expected = cases["vae_enc"].inputs, cases["vae_enc"].outputs
    close(torch.cat(vae.moments(inputs["pixels"]), 1), expected["moments"], name="moments")
    close(vae.encode(inputs["pixels"], inputs["noise"]), expected["latent"], name="latent")
    close(vae.decode(*cases["vae_dec"].inputs.values()), cases["vae_dec"].outputs["pixels"], name="pixels")


def test_sdxl_in_the_layout_of_diffusers():
    cases, vae = GoldenSet(root() / "janusflow").cases, sdxl()
    pixels, expected = cases["vae_encode"].inputs["pixels"], cases["vae_encode"].outputs
    mean, logvar = vae.moments(pixels)
    close(mean, expected["mean"], name="mean")
    close(torch.exp(0.5 * logvar), expected["std"], name="std")
    close(vae.encode(pixels), expected["z_scaled_mean"], name="latents")
    case = cases["vae_decode"]
    close(vae.decode(case.inputs["z"] * vae.scale), case.outputs["pixels"], name="pixels")


def magvit_sizes(weights: dict[str, Tensor], half: str, names: str) -> ConvConfig:
    """Sizes of one half, as its tensors have them."""
    count = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith(f"{half}.{names}."))
    levels = []
    for i in range(count):
        first = f"{half}.{names}.{i}.block."
        convs = sorted(name for name in weights if name.startswith(first) and name.endswith("conv2.weight"))
        levels.append(Level(len(weights[convs[0]]), len(convs)))
    latent = len(weights["encoder.conv_out.weight"])
    return ConvConfig(levels=tuple(levels), stem=len(weights["encoder.conv_in.weight"]), latent=latent)


def test_magvitv2_of_show_o():
    golden = GoldenSet(root() / "magvitv2")
    weights = load_file(golden.folder / "pytorch_model.safetensors")
    down, up = magvit_sizes(weights, "encoder", "down"), magvit_sizes(weights, "decoder", "up")
    module = nn.ModuleDict({"encoder": Encoder(down), "decoder": Decoder(up)})
    module["quant_conv"] = pointwise(down.latent, down.latent)
    module["post_quant_conv"] = pointwise(up.latent, up.latent)
    inside = Layout({"encoder.quant_conv.*": "quant_conv.*", "decoder.post_quant_conv.*": "post_quant_conv.*"})
    layout = compvis_layout(len(up.levels)) | inside | Layout({"quantize.*": DROP})
    loaded(module, layout, weights)
    for name in ("encode", "encode_nonsquare"):
        case = golden.cases[name]
        found = module["quant_conv"](module["encoder"](case.inputs["pixels"]))
        close(found, case.outputs["hidden"], name=name)
    for name in ("decode", "decode_nonsquare"):
        case = golden.cases[name]
        found = module["decoder"](module["post_quant_conv"](case.outputs["codebook_entry"]))
        close(found, case.outputs["pixels"], name=name)


def test_attention_and_middle_are_built_as_told():
    encoder, decoder = compvis(8, (1, 2), 1, 4, attention=(1,), decoder_attention=(0,), groups=4)
    assert [len(level.attention) for level in Encoder(encoder).levels] == [0, 1]
    assert [len(level.attention) for level in Decoder(decoder).levels] == [0, 2]  # from the coarsest
    plain = ConvConfig(levels=(Level(8, 1),), stem=8, latent=4, middle_attention=False, groups=4)
    assert not [name for name, _ in Encoder(plain).named_parameters() if "attention" in name]


def test_padding_on_both_sides_keeps_the_size():
    config = ConvConfig(levels=(Level(8, 1), Level(8, 1)), stem=8, latent=4, groups=4, pad="both")
    assert Encoder(config)(torch.zeros(1, 3, 6, 4)).shape == (1, 4, 3, 2)


def test_noise_of_another_shape_is_refused():
    vae = harmon()
    side = vae.factor
    with pytest.raises(InputError, match="shape"):
        vae.encode(torch.zeros(1, 3, side, side), torch.zeros(1, 1, 2, 2))


def test_a_kl_autoencoder_needs_a_double_encoder():
    with pytest.raises(InputError, match="double"):
        kl_tokenizer(*compvis(8, (1,), 1, 4, groups=4), scale=1.0)


def test_the_sets_are_found():
    assert isinstance(root(), Path) and (root() / "harmon").is_dir()
