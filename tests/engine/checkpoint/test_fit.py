"""Whether a state dict is that of a network."""

import pytest
import torch
from torch import nn

from fastsegformer_mm.engine.checkpoint import CheckpointError
from fastsegformer_mm.engine.checkpoint.fit import (
    check_fit,
    compare,
    compare_by_loading,
    load_all_or_raise,
)
from fastsegformer_mm.models.backbones import SwinLastNorm

NORM = dict(
    weight=torch.tensor([2.0]),
    bias=torch.tensor([3.0]),
    running_mean=torch.tensor([4.0]),
    running_var=torch.tensor([5.0]),
)


class Renaming(nn.Module):
    """Takes a weight under an older name, transposed."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2, 3))

    def _load_from_state_dict(self, state_dict, prefix, *args):
        old = state_dict.pop(f'{prefix}old', None)
        if old is not None:
            state_dict[f'{prefix}w'] = old.T
        super()._load_from_state_dict(state_dict, prefix, *args)


class Head(nn.Module):
    def __init__(self, classes, channels=8):
        super().__init__()
        self.num_classes = self.out_channels = classes
        self.conv = nn.Conv2d(3, channels, 1)
        self.conv_seg = nn.Conv2d(channels, classes, 1)


def network(classes=4, channels=8, **others):
    return nn.ModuleDict(
        dict(
            backbone=nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)),
            decode_head=Head(classes, channels),
            **others,
        )
    )


def refused(model, weights, **kwargs):
    with pytest.raises(CheckpointError) as error:
        check_fit(model, weights, 'a.pth', **kwargs)
    return str(error.value)


def test_compare():
    norm = nn.BatchNorm2d(1)
    fit = compare(norm, dict(NORM, bias=torch.ones(2), other=torch.ones(1)), ['weight'])
    assert fit.own == ['weight', 'bias', 'running_mean', 'running_var']
    assert (fit.missing, fit.unexpected) == ([], ['other'])
    assert fit.mismatched == {'bias': ((2,), (1,))}
    assert fit.problems() == [
        '1 unexpected: other',
        '1 mismatched: bias (2,) instead of (1,)',
    ]
    assert fit.problems(unexpected=False) == fit.problems()[1:]
    assert compare(norm, {}, ['bias']).missing == [
        'weight',
        'running_mean',
        'running_var',
    ]


def test_load_all_or_raise():
    norm = nn.BatchNorm2d(1)
    load_all_or_raise(norm, NORM, 'norm.pth')
    assert norm.weight.item() == 2
    assert norm.running_var.item() == 5
    less = {k: v + 1 for k, v in NORM.items() if k != 'bias'}
    with pytest.raises(
        CheckpointError,
        match=(r"checkpoint 'norm\.pth' does not fit BatchNorm2d: 1 missing: bias\. "),
    ):
        load_all_or_raise(norm, less, 'norm.pth')
    assert norm.weight.item() == 2
    load_all_or_raise(norm, less, 'norm.pth', optional=['bias'])
    assert norm.weight.item() == 3


def test_networks_that_rename_as_they_load():
    model = nn.Sequential(Renaming(), nn.BatchNorm2d(1))
    old = torch.arange(6.0).reshape(3, 2)
    weights = {'0.old': old, **{f'1.{k}': v for k, v in NORM.items()}}
    assert compare(model, weights).missing == ['0.w']
    fit = compare_by_loading(model, weights)
    assert (fit.missing, fit.unexpected, fit.mismatched) == ([], [], {})
    assert torch.equal(model[0].w, old.T)
    assert check_fit(model, weights, 'a.pth').missing == []
    fit = compare_by_loading(model, {'0.old': torch.ones(4, 2), 'x': old})
    assert fit.missing == [f'1.{k}' for k in NORM]
    assert fit.mismatched == {'0.w': ((2, 4), (2, 3))}
    assert not model._load_state_dict_post_hooks


def test_what_fits():
    model = network()
    weights = network().state_dict()
    fit = check_fit(model, weights, 'a.pth')
    assert (fit.missing, fit.unexpected, fit.mismatched) == ([], [], {})
    del weights['backbone.1.num_batches_tracked']
    weights['auxiliary_head.w'] = torch.ones(1)
    fit = check_fit(model, weights, 'a.pth')
    assert (fit.missing, fit.unexpected) == ([], ['auxiliary_head.w'])


def test_another_network():
    other = {f'encoder.layers.{i}.weight': torch.ones(1) for i in range(9)}
    for partly in (False, True):
        told = refused(network(), other, partly=partly)
        assert told.startswith(
            "checkpoint 'a.pth' is that of another network: it has 0 of the 10 weights "
            'of ModuleDict. Its keys are like encoder.layers.0.weight, '
            'encoder.layers.3.weight, encoder.layers.6.weight, those of the network '
            'like backbone.0.weight, '
        )
        assert "model.backbone.init_cfg=dict(type='Pretrained', checkp" in told
    assert 'Its keys are like none' in refused(network(), {})


@pytest.mark.parametrize('partly', [False, True])
def test_other_number_of_classes(partly):
    told = refused(
        network(), network(21).state_dict(), partly=partly, classes=('sky', 'road')
    )
    assert told.startswith(
        "checkpoint 'a.pth' was trained for another number of classes (sky, road): "
        'decode_head.conv_seg.weight: 21 classes in the file, 4 in the config. Give'
    )
    anew = "allow_mismatch=['decode_head.conv_seg'] of CheckCheckpointHook"
    assert (anew in told) == partly


def test_two_heads_of_another_number_of_classes():
    told = refused(
        network(auxiliary_head=Head(4)), network(2, auxiliary_head=Head(2)).state_dict()
    )
    assert (
        'decode_head.conv_seg.weight: 2 classes in the file, 4 in the config; '
        'auxiliary_head.conv_seg.weight: 2 classes in the file, 4 in'
    ) in told


def test_other_widths():
    """That the classifier differs too is no matter of the classes."""
    told = refused(network(), network(21, channels=16).state_dict())
    assert 'number of classes' not in told
    assert told.startswith(
        "checkpoint 'a.pth' does not fit ModuleDict: 4 mismatched: "
        'decode_head.conv.weight (16, 3, 1, 1) instead of (8, 3, 1, 1), '
    )


def test_as_many_channels_as_classes():
    """A layer of a backbone is no classifier."""
    weights = network(classes=3).state_dict()
    weights['backbone.0.bias'] = torch.ones(5)
    told = refused(network(classes=3), weights)
    assert '1 mismatched: backbone.0.bias (5,) instead of (3,)' in told


def test_missing_weights():
    weights = network().state_dict()
    del weights['decode_head.conv_seg.bias']
    told = refused(network(), weights)
    assert 'fit ModuleDict: 1 missing: decode_head.conv_seg.bias.' in told
    fit = check_fit(network(), weights, 'a.pth', partly=True)
    assert fit.missing == ['decode_head.conv_seg.bias']
    fit = check_fit(network(), weights, 'a.pth', optional='decode_head.conv_seg')
    assert fit.missing == ['decode_head.conv_seg.bias']


@pytest.mark.parametrize(('present', 'taken'), [(5, True), (4, False)])
def test_most_of_the_network(present, taken):
    """Ten weights; half of them must be there."""
    weights = dict(list(network().state_dict().items())[:present])
    if taken:
        assert len(check_fit(network(), weights, 'a.pth', partly=True).missing) == 5
    else:
        assert 'another network: it has 4 of the 10' in refused(
            network(), weights, partly=True
        )


def test_allowed_mismatch():
    weights = network(21).state_dict()
    fit = check_fit(
        network(), weights, 'a.pth', partly=True, allow_mismatch=['seg$', r'_seg\.']
    )
    assert list(fit.mismatched) == [
        'decode_head.conv_seg.weight',
        'decode_head.conv_seg.bias',
    ]
    told = refused(
        network(), weights, partly=True, allow_mismatch=[r'conv_seg\.weight']
    )
    assert 'decode_head.conv_seg.bias (21,) instead of (4,)' in told


class Picky(nn.Linear):
    def _load_from_state_dict(
        self, state_dict, prefix, metadata, strict, missing, unexpected, errors
    ):
        super()._load_from_state_dict(
            state_dict, prefix, metadata, strict, missing, unexpected, errors
        )
        errors.append('these are of no use')


def test_other_errors_of_a_module():
    """SwinLastNorm says so of a foreign file."""
    model = Picky(1, 1)
    told = refused(model, {'weight': torch.ones(1, 1)}, partly=True)
    assert "'a.pth' does not fit Picky: these are of no use. Give" in told


def test_distillation_and_network_alone():
    alone = network().state_dict()
    distilled = {f'architecture.{k}': v for k, v in alone.items()}
    told = refused(network(), distilled)
    assert (
        "'a.pth' is that of a distillation, its keys begin with 'architecture.'; "
        'ModuleDict is a network alone'
    ) in told
    assert 'tools/model_converters/export_student.py FILE student.pth' in told
    distillation = nn.ModuleDict(dict(architecture=network()))
    assert check_fit(distillation, distilled, 'a.pth').missing == []
    told = refused(distillation, alone, partly=True)
    assert "'a.pth' is that of a network alone; ModuleDict is a distillation" in told
    assert 'model.architecture.init_cfg=dict(' in told


def test_official_swin_weights_fit():
    """Converted as they load; no key of the file is one of the network's."""
    model = nn.ModuleDict(
        dict(
            backbone=SwinLastNorm(
                embed_dims=8,
                depths=(1, 1),
                num_heads=(1, 1),
                strides=(4, 2),
                out_indices=(0, 1),
            )
        )
    )
    own = model.state_dict()
    official = {
        k.replace('stages.', 'layers.')
        .replace('.attn.w_msa.', '.attn.')
        .replace('.ffn.layers.0.0.', '.mlp.fc1.')
        .replace('.ffn.layers.1.', '.mlp.fc2.')
        .replace('projection', 'proj'): v
        for k, v in own.items()
        if not k.startswith('backbone.norm')
    }
    official.update(
        {
            k.replace('norm1', 'norm'): v
            for k, v in own.items()
            if k.startswith('backbone.norm')
        }
    )
    assert compare(model, official).missing
    assert check_fit(model, official, 'swin.pth').missing == []
