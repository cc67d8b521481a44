"""What the conv module promises for every autoencoder."""

import torch

from diptych.tokenizers.conv import ConvConfig, Decoder, Encoder, Level, compvis


def test_attention_and_middle_are_built_as_told():
    encoder, decoder = compvis(8, (1, 2), 1, 4, attention=(1,), decoder_attention=(0,), groups=4)
    assert [len(level.attention) for level in Encoder(encoder).levels] == [0, 1]
    assert [len(level.attention) for level in Decoder(decoder).levels] == [0, 2]  # from the coarsest
    plain = ConvConfig(levels=(Level(8, 1),), stem=8, latent=4, middle_attention=False, groups=4)
    assert not [name for name, _ in Encoder(plain).named_parameters() if "attention" in name]


def test_padding_on_both_sides_keeps_the_size():
    config = ConvConfig(levels=(Level(8, 1), Level(8, 1)), stem=8, latent=4, groups=4, pad="both")
    assert Encoder(config)(torch.zeros(1, 3, 6, 4)).shape == (1, 4, 3, 2)
