"""A classifier starts at the shares of its classes."""

import pytest
import torch
from mmengine.model import initialize
from mmengine.registry import WEIGHT_INITIALIZERS, init_default_scope
from mmseg.registry import MODELS
from torch import nn

import fastsegformer_mm  # registers the initializer

assert fastsegformer_mm

PRIOR = [97, 1.4, 0.6, 1]


def head(prior):
    return MODELS.build(
        {
            'type': 'FCNHead',
            'in_channels': 8,
            'channels': 8,
            'num_convs': 1,
            'num_classes': 4,
            'init_cfg': {
                'type': 'Normal',
                'std': 0.01,
                'override': {
                    'name': 'conv_seg', 'type': 'mmseg.ClassPrior', 'prior': prior},
            },
        }
    )


def test_any_head_by_config():
    torch.manual_seed(0)
    model = head(PRIOR)
    model.init_weights()
    shares = model.conv_seg.bias.softmax(0)
    torch.testing.assert_close(shares, torch.tensor(PRIOR) / 100)
    assert model.conv_seg.weight.std().item() == pytest.approx(0.01, rel=0.4)


def test_named_as_in_a_config():
    """The default scope says whose it is; MMEngine's own registry has none."""
    init_default_scope('mmseg')
    model = nn.Conv2d(3, 2, 1)
    initialize(model, {'type': 'ClassPrior', 'prior': [3, 1], 'layer': 'Conv2d'})
    assert model.bias.softmax(0).tolist() == pytest.approx([0.75, 0.25])
    assert 'ClassPrior' not in WEIGHT_INITIALIZERS.module_dict


def test_std_and_named_layers():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 500, 3), nn.Linear(400, 2))
    before = model[0].weight.clone()
    cfg = {
        'type': 'mmseg.ClassPrior', 'prior': [3, 1], 'std': 0.5, 'layer': 'Linear'}
    initialize(model, cfg)
    assert model[1].bias.softmax(0).tolist() == pytest.approx([0.75, 0.25])
    assert model[1].weight.std().item() == pytest.approx(0.5, rel=0.1)
    assert torch.equal(model[0].weight, before)


@pytest.mark.parametrize('prior', [[], [1, 0, 1, 1], [1, -1, 1, 1]])
def test_shares_must_be_positive(prior):
    with pytest.raises(ValueError, match='share above 0'):
        head(prior).init_weights()


def test_one_share_a_class():
    with pytest.raises(ValueError, match='3 shares, and the Conv2d has 4 outputs'):
        head([1, 1, 1]).init_weights()
