"""What lookup-free quantisation promises."""

import torch

from diptych.tokenizers.lookup_free import LFQ


def test_every_code_is_its_own_entry():
    codes = torch.arange(16).view(1, 4, 4)
    entries = LFQ(4).decode(codes)
    assert torch.equal(LFQ(4).encode(entries), codes)
    assert entries.unique().tolist() == [-1, 1]
    assert entries[0, :, 0, 1].tolist() == [-1, -1, -1, 1]  # the last channel is the least significant bit


def test_zero_counts_as_minus():
    assert LFQ(2).encode(torch.zeros(1, 2, 1, 1)).item() == 0


def test_the_decoder_sees_signs_and_the_encoder_its_gradient():
    z = torch.randn(2, 3, 2, 2, requires_grad=True)
    slope = torch.randn(2, 3, 2, 2)
    quant = LFQ(3).quantise(z).quant
    assert torch.allclose(quant.abs(), torch.ones_like(quant))
    (quant * slope).sum().backward()
    assert torch.equal(z.grad, slope)


def test_the_second_share_of_the_commitment_weakens_its_gradient():
    """As published: (1 + beta) in the value, (1 - beta) in the gradient."""
    z = torch.full((1, 1, 1, 1), 0.5, requires_grad=True)
    loss = LFQ(1, commitment=1.0).quantise(z).losses["commitment"]
    loss.backward()
    assert loss.item() == 1.25 * 0.25
    assert z.grad.item() == 2 * (0.5 - 1) * (1 - 0.25)


def test_entropy_falls_as_bits_grow_sure_and_even():
    unsure, even = torch.zeros(1, 1, 1, 2), torch.tensor([[[[-4.0, 4.0]]]])
    one = torch.full((1, 1, 1, 2), 4.0)
    loss = [LFQ(1, entropy=1.0).quantise(z).losses["entropy"].item() for z in (unsure, even, one)]
    assert abs(loss[0]) < 1e-6 and abs(loss[2]) < 1e-5
    assert abs(loss[1] + torch.log(torch.tensor(2.0)).item()) < 1e-5
