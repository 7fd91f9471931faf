import math

import torch
from torch import nn

from fastsegformer_mm.models.layers.attention_gate import AttentionGate


def fixed_gate(**kwargs):
    gate = AttentionGate(1, 1, 1, **kwargs)
    with torch.no_grad():
        for conv, weight, bias in (
            (gate.w_gate.conv, 1.0, 0.0),
            (gate.w_skip.conv, 1.0, 0.0),
            (gate.psi.conv, 2.0, -2.0),
        ):
            conv.weight.fill_(weight)
            conv.bias.fill_(bias)
    return gate


def test_values_by_hand():
    gate = torch.tensor([[[[2.0, -3.0]]]])
    skip = torch.tensor([[[[-1.0, -1.0]]]])
    out = fixed_gate(act_cfg={'type': 'ReLU'})(gate, skip)
    # left: sigmoid(2 * relu(1) - 2) = 0.5; right: sigmoid(2 * relu(-4) - 2)
    expected = torch.tensor([-0.5, -1 / (1 + math.exp(2))])
    torch.testing.assert_close(out.flatten(), expected)

    without = fixed_gate()(gate, skip).flatten()[1].item()
    assert math.isclose(without, -1 / (1 + math.exp(10)), rel_tol=1e-5)


def test_psi_is_one_map_for_all_channels():
    gate = AttentionGate(6, 4, 3, act_cfg={'type': 'ReLU'})
    skip = torch.rand(2, 4, 5, 7) + 1
    weight = gate(torch.rand(2, 6, 5, 7), skip) / skip
    torch.testing.assert_close(weight, weight[:, :1].expand_as(weight))
    assert ((weight > 0) & (weight < 1)).all()


def test_norm_bias_and_gradients():
    gate = AttentionGate(
        6, 4, 3, norm_cfg={'type': 'BN'}, act_cfg={'type': 'ReLU'}
    ).train()
    # convolutions with bias: 6*3 + 3, 4*3 + 3, 3 + 1; their norms: 2 * (3 + 3 + 1)
    assert sum(p.numel() for p in gate.parameters()) == 21 + 15 + 4 + 14
    assert sum(isinstance(m, nn.BatchNorm2d) for m in gate.modules()) == 3
    gate(torch.rand(2, 6, 5, 7), torch.rand(2, 4, 5, 7)).square().sum().backward()
    assert all(p.grad is not None for p in gate.parameters())
