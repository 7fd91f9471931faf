"""Official files of MFF-Metal and LMFFNet become MMEngine's, whole or not at all."""

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import load_checkpoint

from fastsegformer_mm.engine.checkpoint import read_checkpoint
from mff_metal.conversion import recognise

HERE = Path(__file__).parent
networks = SimpleNamespace(**runpy.run_path(str(HERE / 'official_networks.py')))
build, official, convert = networks.build, networks.official, networks.convert


def run(monkeypatch, *args):
    """``python -m mff_metal.conversion ARGS``."""
    monkeypatch.setattr(sys, 'argv', ['conversion', *map(str, args)])
    module = sys.modules.pop('mff_metal.conversion', None)
    try:
        runpy.run_module('mff_metal.conversion', run_name='__main__')
    except SystemExit as end:
        if end.code:
            raise
    finally:
        if module is not None:
            sys.modules['mff_metal.conversion'] = module


@pytest.mark.parametrize(
    ('name', 'options', 'title', 'parameters'),
    [
        ('mff_metal', {}, 'MFF-Metal (student)', 981_580),
        (
            'mff_metal',
            dict(channels=networks.TEACHER),
            'MFF-Metal (teacher)',
            34_390_390,
        ),
        (
            'mff_metal',
            dict(num_classes=7, channels=(6, 12, 18, 24), image=1),
            'MFF-Metal (6/12/18/24)',
            None,
        ),
        ('lmffnet', {}, 'LMFFNet', 1_342_087),
        ('lmffnet', dict(num_classes=19), 'LMFFNet', 1_342_087 + 15 * 307),
        ('lmffnet', dict(channels=(4, 8, 12), image=1), 'LMFFNet', None),
        (
            'mff_metal',
            dict(num_classes=1, head=dict(reduced_channels=(8, 10))),
            'MFF-Metal (student)',
            None,
        ),
    ],
)
def test_every_form_is_recognised_and_fits(name, options, title, parameters):
    # shapes are enough, and the teacher is large
    with torch.device('meta'):
        model = build(name, **options)
        conversion = convert(official(name, **options))
    expected = {k: v.shape for k, v in model.state_dict().items()}
    found = {k: v.shape for k, v in conversion.state_dict.items()}
    assert list(found.items()) == list(expected.items())
    assert conversion.network.name == title
    assert conversion.network.num_classes == options.get('num_classes', 4)
    total = sum(p.numel() for p in model.parameters())
    assert conversion.num_parameters == total
    if parameters is not None:
        assert total == parameters
    assert conversion.dropped == conversion.absent == []


def test_each_value_goes_to_its_place():
    """Hand-picked pairs, among them those that change their number."""
    pairs = {
        'mff_metal': {
            'Init_Block.init_conv.2.bn_prelu.acti.weight': 'stem.2.activate.weight',
            'downsample_1.conv3x3.conv.weight': 'stages.1.downsample.conv.conv.weight',
            'SEM_B_Block2.SEM_B_Block.SEM_Block_25.dconv_middle.bn_prelu.bn.bias': (
                'stages.2.blocks.5.branches.1.bn.bias'
            ),
            'FFM_B0.PMCA.SE_Block.fc.2.weight': 'fusions.0.attention.fc.2.weight',
            'MAD.max_re24.PwConv2.conv.weight': (
                'shallow_decoder.classify.pointwise_conv.conv.weight'
            ),
            'MAD.max_re48.scale_atten.conv.weight': 'deep_decoder.weigh.conv.weight',
        },
        'lmffnet': {
            'FFM_A.bn_prelu.bn.running_var': 'stem_fusion.bn.running_var',
            'downsample_2.bn_prelu.acti.weight': (
                'stages.1.downsample.norm_act.activate.weight'
            ),
            'SEM_B_Block1.SEM_B_Block.SEM_Block_12.dconv_right.conv.weight': (
                'stages.0.blocks.2.branches.1.conv.weight'
            ),
            'MAD.mid_layer_1x1.conv.weight': 'decoder.reduce_shallow.conv.weight',
        },
    }
    for name, names in pairs.items():
        weights = official(name)
        converted = convert(weights).state_dict
        for theirs, ours in names.items():
            part = 'decode_head' if 'decoder' in ours else 'backbone'
            assert torch.equal(converted[f'{part}.{ours}'], weights[theirs])


def test_batch_counts():
    """A real file has them; where they lack, ours start at none."""
    weights = official('lmffnet')
    weights['MAD.DwConv1.bn_prelu.bn.num_batches_tracked'] = torch.tensor(77)
    converted = convert(weights).state_dict
    bn = 'decode_head.decoder.{}.depthwise_conv.bn.num_batches_tracked'
    assert converted[bn.format('attention')] == 77
    assert converted[bn.format('classify')] == 0


@pytest.mark.parametrize('name', ['mff_metal', 'lmffnet'])
def test_what_does_not_fit_is_listed(name):
    weights = official(name)
    weights['MAD.aux.weight'] = torch.zeros(2)
    weights['SEM_B_Block1.extra.conv.weight'] = torch.zeros(2)
    del weights['FFM_B2.bn_prelu.acti.weight']
    weights['FFM_B1.PMCA.SE_Block.fc.0.weight'] = torch.zeros(5, 5)
    with pytest.raises(ValueError, match='is recognised as ') as error:
        convert(weights)
    message = str(error.value)
    assert '2 left over' in message
    assert 'MAD.aux.weight' in message
    assert 'SEM_B_Block1.extra.conv.weight' in message
    stage = 2 if name == 'mff_metal' else 1
    assert '1 missing' in message
    assert f'backbone.fusions.{stage}.mix.activate.weight' in message
    assert 'FFM_B1.PMCA.SE_Block.fc.0.weight: (5, 5), expected (' in message


def without(name, start):
    return {k: v for k, v in official(name).items() if not k.startswith(start)}


@pytest.mark.parametrize(
    ('weights', 'message'),
    [
        (
            {'conv1.weight': torch.zeros(1), 'head.bias': torch.zeros(1)},
            'no network known here: its keys begin with conv1, head. Known are MFF',
        ),
        (
            without('mff_metal', 'SEM_B_Block2.SEM_B_Block.SEM_Block_25'),
            r'like MFF-Metal, but its stages have \[2, 2, 5\] bottlenecks, not \[2, 2',
        ),
        (
            without('lmffnet', 'SEM_B_Block1.SEM_B_Block.SEM_Block_12'),
            r'like LMFFNet, but its stages have \[2, 8\] bottlenecks, not \[3, 8\]',
        ),
        (without('mff_metal', 'MAD.'), "it lacks 'MAD.max_re48.PwConv1.conv.weight'"),
        (without('lmffnet', 'Init_Block'), "it lacks 'Init_Block.init_conv.0.conv"),
    ],
)
def test_unknown_networks(weights, message):
    with pytest.raises(ValueError, match=message):
        recognise(weights)


def test_command_line(tmp_path, monkeypatch, capsys):
    src, dst = tmp_path / 'official.pth', tmp_path / 'made/dst.pth'
    weights = official('mff_metal')
    # as DataParallel and a training script wrap them
    wrapped = {f'module.{key}': value for key, value in weights.items()}
    torch.save({'epoch': 3, 'model': wrapped}, src)
    run(monkeypatch, src, dst, '--dataset', 'NEUSegDataset')
    assert capsys.readouterr().out.splitlines() == [
        f'recognised MFF-Metal (student) in {src}',
        '  backbone:   MFFMetalEncoder',
        '  classes:    4',
        '  parameters: 981,580',
        f'wrote {dst}',
    ]
    meta = read_checkpoint(dst)['meta']
    assert meta['network'] == 'MFF-Metal (student)'
    assert len(meta['dataset_meta']['classes']) == 4

    model = build('mff_metal')
    load_checkpoint(model, str(dst), map_location='cpu', strict=True)
    key = 'MAD.max_re48.deep_layer_1x1.conv.weight'
    weight = model.decode_head.deep_decoder.reduce_deep.conv.weight
    assert torch.equal(weight, weights[key])

    with pytest.raises(SystemExit, match=r'dst\.pth.* exists: .*--force'):
        run(monkeypatch, src, dst)
    run(monkeypatch, src, dst, '--force')
    assert 'dataset_meta' not in read_checkpoint(dst)['meta']

    torch.save({'conv1.weight': torch.zeros(1)}, src)
    with pytest.raises(SystemExit, match=r'official\.pth.*Known are MFF-Metal'):
        run(monkeypatch, src, dst, '--force')
    run(monkeypatch, '--help')
    assert 'MFF-Metal, student or teacher' in capsys.readouterr().out
