"""Published tensor names of Wan 2.1's autoencoder (Wan2.1_VAE.pth), mapped to ours: tokenizers/wan.py."""

from __future__ import annotations

from diptych.weights.layout import Layout

BLOCK = {
    "residual.0.*": "norm1.*",
    "residual.2.*": "conv1.*",
    "residual.3.*": "norm2.*",
    "residual.6.*": "conv2.*",
    "shortcut.*": "shortcut.*",
}
ATTENTION = {"norm.*": "norm.*", "to_qkv.*": "qkv.*", "proj.*": "out.*"}


def _half(levels: str) -> Layout:
    resample = {f"{levels}.#.resample.1.*": "levels.#.conv.*", f"{levels}.#.time_conv.*": "levels.#.time.*"}
    ends = {"conv1.*": "conv_in.*", "head.0.*": "norm_out.*", "head.2.*": "conv_out.*"}
    return (
        Layout({**ends, **resample})
        | Layout(BLOCK).under(f"{levels}.#.", "levels.#.")
        | Layout(BLOCK).under("middle.0.", "middle.0.")
        | Layout(ATTENTION).under("middle.1.", "middle.1.")
        | Layout(BLOCK).under("middle.2.", "middle.2.")
    )


WAN = (
    _half("downsamples").under("encoder.", "encoder.")
    | _half("upsamples").under("decoder.", "decoder.")
    | Layout({"conv1.*": "quant_conv.*", "conv2.*": "post_quant_conv.*"})
)
