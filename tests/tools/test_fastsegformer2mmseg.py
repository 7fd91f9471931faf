import errno
import os
import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import load_checkpoint
from mmseg.registry import MODELS

from fastsegformer_mm.models.backbones import EfficientFormerV2, SwinLastNorm
from fastsegformer_mm.models.conversion import (
    convert_checkpoint,
    convert_state_dict,
    recognise,
)

TESTS = Path(__file__).parents[1]
TOOL = TESTS.parent / 'tools/model_converters/fastsegformer2mmseg.py'
golden = SimpleNamespace(**runpy.run_path(str(TESTS / 'golden/golden.py')))
networks = SimpleNamespace(**runpy.run_path(str(TESTS / 'golden/networks.py')))
E = 'fastsegformer_e_ppm_noirb'
BACKBONE = 'common_backbone.'
BRANCH = re.compile(r'^(cnn1|cnn2|cnn_up)\.')


def run_tool(monkeypatch, *args):
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, args)])
    try:
        runpy.run_path(str(TOOL), run_name='__main__')
    except SystemExit as end:
        if end.code:
            raise


def official(name):
    """Official weights by name; of networks without a golden file by analogy.

    The golden manifests give the names and the shapes of all of their layers.
    """
    if name in golden.NAMES:
        return golden.official_state_dict(name)
    if name == 'swin_s_att_unet':
        return swin_s_teacher()
    if name == 'fastsegformer_s36':
        return s36_student()
    # a branch or a pyramid that the golden files have on another network
    letter = name.split('_')[1]
    pyramid = '_ppm_noirb' if '_ppm' in name else ''
    weights = golden.official_state_dict(f'fastsegformer_{letter}{pyramid}')
    if name.endswith('_noirb'):
        weights = {k: v for k, v in weights.items() if not BRANCH.match(k)}
        weights['classify.conv.1.weight'] = torch.zeros((4, 320, 1, 1))
        weights['classify.conv.1.bias'] = torch.zeros(4)
    else:
        whole = golden.official_state_dict(f'fastsegformer_{letter}')
        names = [k for k in whole if BRANCH.match(k) or k.startswith('classify.conv.1')]
        weights.update({k: whole[k] for k in names})
    return weights


def deepen(weights, prefix, start, stop):
    """Repeat a stage's last block until it has `stop` of them."""
    last = f'{prefix}{start - 1}.'
    block = {k[len(last) :]: v for k, v in weights.items() if k.startswith(last)}
    for i in range(start, stop):
        weights.update({f'{prefix}{i}.{k}': v.clone() for k, v in block.items()})


def s36_student():
    """S24's backbone, deeper; the decoder that it shares with Swin-T."""
    weights = {
        k: v
        for k, v in golden.official_state_dict('fastsegformer_swin_t').items()
        if not k.startswith(BACKBONE)
    }
    weights.update(
        {
            k: v
            for k, v in golden.official_state_dict('fastsegformer_s24').items()
            if k.startswith(BACKBONE)
        }
    )
    for stage, start, stop in ((0, 4, 6), (2, 4, 6), (4, 12, 18), (6, 4, 6)):
        deepen(weights, f'{BACKBONE}network.{stage}.', start, stop)
    weights['convert_channel.conv.0.weight'] = torch.zeros((256, 512, 1, 1))
    weights['FFM.conv_higher_res.0.weight'] = torch.zeros((512, 128, 1, 1))
    return weights


def swin_s_teacher():
    """Swin-T's, with a deeper third stage and 128 channels in the last level."""
    weights = golden.official_state_dict('swin_t_att_unet')
    deepen(weights, f'{BACKBONE}layers.2.blocks.', 6, 18)
    for key, value in weights.items():
        shape = list(value.shape)
        if key.startswith(('up1.', 'conv1.', 'cnn_up.', 'Att1.', 'final_up_conv.')):
            # every width of this level doubles; the image's, the classes' and the
            # one channel of psi do not, nor does what comes from the level below
            if shape[0] not in (1, 4):
                shape[0] *= 2
            if len(shape) == 4 and shape[1] != 3 and not key.startswith('up1.'):
                shape[1] *= 2
            weights[key] = torch.zeros(shape)
    return weights


NAMES = {
    'fastsegformer_e': ('FastSegFormer-E', 5_013_044),
    'fastsegformer_e_ppm_noirb': ('FastSegFormer-E', 4_482_836),
    'fastsegformer_e_ppm': ('FastSegFormer-E', 4_494_324),
    'fastsegformer_e_msp_noirb': ('FastSegFormer-E', 5_001_556),
    'fastsegformer_p': ('FastSegFormer-P', 14_891_940),
    'fastsegformer_p_ppm_noirb': ('FastSegFormer-P', 13_547_460),
    'fastsegformer_p_ppm': ('FastSegFormer-P', 13_564_324),
    'fastsegformer_p_msp_noirb': ('FastSegFormer-P', 14_875_076),
    'fastsegformer_s24': ('FastSegFormer (PoolFormer-S24)', 28_332_484),
    'fastsegformer_s36': ('FastSegFormer (PoolFormer-S36)', 43_120_708),
    'fastsegformer_swin_t': ('FastSegFormer (Swin-T)', 40_387_582),
    'swin_t_att_unet': ('Swin-T-Att-UNet', 49_229_322),
    'swin_s_att_unet': ('Swin-S-Att-UNet', 71_080_826),
}


@pytest.mark.parametrize('name', NAMES)
def test_every_network_is_recognised_and_fits(name):
    weights = official(name)
    parameters = sum(v.numel() for k, v in weights.items() if 'running_' not in k)
    assert parameters == NAMES[name][1]

    conversion = convert_state_dict(weights)
    assert conversion.network.name == NAMES[name][0]
    assert conversion.network.num_classes == 4
    assert conversion.num_parameters == NAMES[name][1]
    assert conversion.dropped == conversion.absent == []

    model = networks.build(name)
    expected = model.state_dict()
    assert list(conversion.state_dict) == list(expected)
    shapes = [tuple(v.shape) for v in conversion.state_dict.values()]
    assert shapes == [tuple(v.shape) for v in expected.values()]
    details = conversion.network.details
    if 'Att-UNet' not in conversion.network.name:
        assert details[0] == ('PPM' if '_ppm' in name else 'MSP')
        assert ('no image branch' in details) == name.endswith('_noirb')


def test_each_value_goes_to_its_place():
    """Hand-picked pairs, among them those that change their number."""
    pairs = {
        'global_feature.bottleneck2.1.block.2.weight': (
            'bottleneck.4.conv.2.conv.weight'
        ),
        'global_feature.ppm.conv3.conv.0.weight': 'pyramid.branches.2.0.conv.weight',
        'global_feature.ppm.conv7.conv.1.running_var': (
            'pyramid.branches.2.1.bn.running_var'
        ),
        'FFM.conv_lower_res.0.bias': 'fusion.conv_lower_res.conv.bias',
        'classify.dsconv2.conv.4.bias': 'classifier.1.pointwise_conv.bn.bias',
        'classify.conv.1.weight': 'branch.reduce.conv.weight',
        'cnn2.conv.3.weight': 'branch.fuse.pointwise_conv.conv.weight',
        'cnn_up.1.weight': 'conv_seg.weight',
    }
    weights = official('fastsegformer_e')
    converted = convert_state_dict(weights).state_dict
    for theirs, ours in pairs.items():
        assert torch.equal(converted[f'decode_head.{ours}'], weights[theirs])

    pairs = {
        'change1.1.weight': 'decoder.0.skip_conv.bn.weight',
        'Att2.psi.0.weight': 'decoder.2.gate.psi.conv.weight',
        'up3.up.1.bias': 'decoder.1.up.conv.bias',
        'convert4.weight': 'decoder.3.project.conv.weight',
        'cnn_up.1.conv.3.weight': 'decoder.3.skip_conv.1.1.conv.weight',
    }
    weights = official('swin_t_att_unet')
    converted = convert_state_dict(weights).state_dict
    for theirs, ours in pairs.items():
        assert torch.equal(converted[f'decode_head.{ours}'], weights[theirs])
    # the original order of a merged patch is (row, column) 00, 10, 01, 11, each
    # with all channels; ours is each channel with 00, 01, 10, 11
    key = 'layers.0.downsample.norm.bias'
    theirs = weights[f'{BACKBONE}{key}'].reshape(4, 96)
    ours = converted['backbone.stages.0.downsample.norm.bias'].reshape(96, 4)
    for position, place in enumerate((0, 2, 1, 3)):
        assert torch.equal(ours[:, place], theirs[position])


@pytest.mark.parametrize('wrapping', [None, 'state_dict', 'model'])
@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_wrappings(wrapping, prefix, tmp_path):
    weights = official(E)
    wrapped = {prefix + key: value for key, value in weights.items()}
    if wrapping:
        wrapped = {wrapping: wrapped, 'epoch': 3}
    torch.save(wrapped, tmp_path / 'official.pth')
    convert_checkpoint(tmp_path / 'official.pth', tmp_path / 'made/here/dst.pth')
    found = torch.load(tmp_path / 'made/here/dst.pth', weights_only=True)
    assert found['meta']['network'] == 'FastSegFormer-E'
    assert found['meta']['converted_from'] == 'official.pth'
    expected = convert_state_dict(weights).state_dict
    assert list(found['state_dict']) == list(expected)
    assert all(torch.equal(found['state_dict'][k], expected[k]) for k in expected)
    assert os.listdir(tmp_path / 'made/here') == ['dst.pth']


def test_constant_buffers():
    """A real file holds them; they are ours to make, but for the batch counts."""
    weights = official(E)
    count = 'common_backbone.network.0.0.mlp.norm1.num_batches_tracked'
    weights[count] = torch.tensor(77)
    index = 'common_backbone.network.4.4.token_mixer.attention_bias_idxs'
    weights[index] = torch.zeros(49, 49, dtype=torch.long)
    converted = convert_state_dict(weights).state_dict
    assert converted[count.replace('common_backbone', 'backbone')] == 77
    assert len(converted) == len(convert_state_dict(official(E)).state_dict)

    weights = official('swin_t_att_unet')
    block = 'common_backbone.layers.0.blocks.1.'
    weights[f'{block}attn_mask'] = torch.zeros(4, 49, 49)
    weights[f'{block}attn.relative_position_index'] = torch.zeros(49, 49)
    converted = convert_state_dict(weights).state_dict
    ours = 'stages.0.blocks.1.attn.w_msa.relative_position_index'
    assert torch.equal(converted[f'backbone.{ours}'], SwinLastNorm().state_dict()[ours])
    assert 'backbone.stages.0.blocks.1.attn_mask' not in converted


@pytest.mark.parametrize(
    ('name', 'layer'),
    [
        (E, 'classify.conv.1'),
        ('fastsegformer_e', 'cnn_up.1'),
        ('fastsegformer_s24', 'cnn_up.2'),
        ('swin_t_att_unet', 'final_up_conv.1'),
    ],
)
def test_any_number_of_classes(name, layer):
    weights = official(name)
    weight = weights[f'{layer}.weight'][:1].expand(7, -1, -1, -1).clone()
    weights.update({f'{layer}.weight': weight, f'{layer}.bias': torch.arange(7.0)})
    conversion = convert_state_dict(weights)
    assert conversion.network.num_classes == 7
    model = networks.build(name, num_classes=7)
    model.load_state_dict(conversion.state_dict, strict=True)
    assert torch.equal(model.decode_head.conv_seg.bias, torch.arange(7.0))


def imagenet(name):
    """An ImageNet file's content: a backbone without output norms, a classifier."""
    weights = {
        k.removeprefix(BACKBONE): v
        for k, v in official(name).items()
        if k.startswith(BACKBONE)
    }
    weights = {k: v for k, v in weights.items() if not re.match(r'norm\d\.', k)}
    for key in ('norm', 'head', 'dist_head') if name == E else ('norm', 'head'):
        weights.setdefault(f'{key}.weight', torch.full((10,), 2.0))
        weights.setdefault(f'{key}.bias', torch.zeros(10))
    return weights


BACKBONES = {
    E: (dict(type='EfficientFormerV2', arch='s0'), 'EfficientFormerV2-S0'),
    'fastsegformer_p': (networks.BACKBONES['p'][0], 'PoolFormer-S12'),
    'fastsegformer_s24': (networks.BACKBONES['s24'][0], 'PoolFormer-S24'),
    'fastsegformer_s36': (networks.BACKBONES['s36'][0], 'PoolFormer-S36'),
    'swin_t_att_unet': (dict(type='SwinLastNorm'), 'Swin-T'),
    'swin_s_att_unet': (networks.BACKBONES['swin_s'][0], 'Swin-S'),
}


@pytest.mark.parametrize('name', BACKBONES)
def test_imagenet_backbone(name, tmp_path):
    weights = imagenet(name)
    torch.save({'model': weights}, tmp_path / 'imagenet.pth')
    dst = tmp_path / 'backbone.pth'
    conversion = convert_checkpoint(tmp_path / 'imagenet.pth', dst)
    cfg, backbone_name = BACKBONES[name]
    assert conversion.network.name == backbone_name
    assert conversion.network.num_classes is None
    if 'swin' in name:
        # the last norm is the last stage's, not the classifier's
        assert conversion.dropped == ['head.weight', 'head.bias']
        assert conversion.absent == []
    else:
        dropped = {k.split('.')[0] for k in conversion.dropped}
        assert dropped == {'norm', 'head'} | ({'dist_head'} if name == E else set())
        absent = {k.split('.')[0] for k in conversion.absent}
        assert absent == {'norm0', 'norm2', 'norm4', 'norm6'}

    backbone = MODELS.build(
        dict(cfg, init_cfg=dict(type='Pretrained', checkpoint=str(dst)))
    )
    backbone.init_weights()
    loaded = backbone.state_dict()
    converted = torch.load(dst, weights_only=True)['state_dict']
    assert set(loaded) - set(converted) == set(conversion.absent)
    assert all(torch.equal(loaded[k], v) for k, v in converted.items())
    if 'swin' in name:
        assert torch.equal(loaded['norm3.weight'], weights['norm.weight'])


@pytest.mark.parametrize('arch', ['s1', 's2', 'l'])
def test_other_sizes_of_efficientformer_v2(arch):
    weights = EfficientFormerV2(arch).state_dict()
    conversion = convert_state_dict(weights)
    assert conversion.network.name == f'EfficientFormerV2-{arch.upper()}'
    assert set(conversion.state_dict) == set(weights)


def test_what_does_not_fit_is_listed_in_full():
    weights = official(E)
    extra = [f'aux.{i}.weight' for i in range(15)]
    weights.update({key: torch.zeros(2) for key in extra})
    del weights['FFM.dwconv.conv.1.bias']
    del weights['common_backbone.network.3.norm.running_var']
    weights['classify.dsconv1.conv.1.weight'] = torch.zeros(5)
    with pytest.raises(ValueError, match='recognised as FastSegFormer-E') as error:
        convert_state_dict(weights)
    message = str(error.value)
    assert '15 left over' in message
    assert all(key in message for key in extra)
    assert '2 missing' in message
    assert 'decode_head.fusion.dwconv.bn.bias' in message
    assert 'backbone.network.3.norm.running_var' in message
    assert 'classify.dsconv1.conv.1.weight: (5,), expected (320,)' in message


def test_a_classifier_has_no_place_in_a_segmentor():
    for name in (E, 'swin_t_att_unet'):
        weights = official(name)
        weights['common_backbone.head.weight'] = torch.zeros(10, 10)
        with pytest.raises(
            ValueError, match=r'left over[^:]*:\s+common_backbone\.head'
        ):
            convert_state_dict(weights)


@pytest.mark.parametrize(
    ('weights', 'message'),
    [
        ({'conv1.weight': torch.zeros(1)}, 'keys begin with conv1. Known are Fast'),
        (
            {'patch_embed.0.weight': torch.zeros(1), 'network.0.0.x': torch.zeros(1)},
            r"lacks 'network.0.0.mlp.fc2.weight'",
        ),
        (
            {
                k: v
                for k, v in EfficientFormerV2('s0').state_dict().items()
                if not k.startswith('network.4.5.')
            },
            r'depths \[2, 2, 5, 4\] it is none of the known ones \(s0: ',
        ),
        (
            {
                f'{BACKBONE}{k}': v
                for k, v in EfficientFormerV2('s0').state_dict().items()
            },
            'EfficientFormerV2-S0 backbone .* neither the decoder',
        ),
    ],
)
def test_unknown_networks(weights, message):
    with pytest.raises(ValueError, match=message):
        recognise(weights)


def test_unknown_swin():
    weights = imagenet('swin_t_att_unet')
    weights = {k: v for k, v in weights.items() if '.blocks.5.' not in k}
    with pytest.raises(ValueError, match=r'depths \(2, 2, 5, 2\) it is none'):
        recognise(weights)


def test_refuses_what_is_not_weights_alone(tmp_path, monkeypatch):
    src, dst = tmp_path / 'official.pth', tmp_path / 'dst.pth'
    # a whole pickled module, as torch.save(model) writes it
    torch.save(torch.nn.Conv2d(1, 1, 1), src)
    with pytest.raises(SystemExit, match=r'official\.pth.*whole pickled network'):
        run_tool(monkeypatch, src, dst)
    torch.save({'state_dict': {'epoch': 3}}, src)
    with pytest.raises(SystemExit, match=r'official\.pth.*dict of tensors'):
        run_tool(monkeypatch, src, dst)
    torch.save({'conv1.weight': torch.zeros(1)}, src)
    with pytest.raises(SystemExit, match=r'official\.pth.*no network known'):
        run_tool(monkeypatch, src, dst)
    with pytest.raises(SystemExit, match=r'absent\.pth.*does not exist'):
        run_tool(monkeypatch, tmp_path / 'absent.pth', dst)
    assert not dst.exists()


def test_writes_whole_or_not_at_all(tmp_path, monkeypatch):
    src, dst = tmp_path / 'official.pth', tmp_path / 'dst.pth'
    torch.save(official(E), src)
    dst.write_text('precious')
    with pytest.raises(SystemExit, match=r'dst\.pth.*exists.*--force'):
        run_tool(monkeypatch, src, dst)
    assert dst.read_text() == 'precious'

    def fail_at_the_end(file):
        raise OSError(errno.ENOSPC, 'disk full')

    with monkeypatch.context() as patch:
        patch.setattr(os, 'fsync', fail_at_the_end)
        with pytest.raises(SystemExit, match=r'cannot write .*dst\.pth: disk full'):
            run_tool(monkeypatch, src, dst, '--force')
    assert dst.read_text() == 'precious'
    assert sorted(os.listdir(tmp_path)) == ['dst.pth', 'official.pth']

    run_tool(monkeypatch, src, dst, '--force')
    model = networks.build(E)
    load_checkpoint(model, str(dst), map_location='cpu', strict=True)
    expected = official(E)['classify.conv.1.bias']
    assert torch.equal(model.decode_head.conv_seg.bias, expected)


def test_dataset(tmp_path, monkeypatch):
    src, dst = tmp_path / 'official.pth', tmp_path / 'dst.pth'
    torch.save(official(E), src)
    run_tool(monkeypatch, src, dst, '--dataset', 'NavelOrangeDataset')
    meta = torch.load(dst, weights_only=True)['meta']['dataset_meta']
    assert meta['classes'] == ('background', 'sunburn', 'ulcer', 'wind scarring')
    assert len(meta['palette']) == 4
    with pytest.raises(SystemExit, match=r'has 19 classes, but .* has 4'):
        run_tool(monkeypatch, src, dst, '--force', '--dataset', 'CityscapesDataset')
    with pytest.raises(SystemExit, match="'Oranges' is not registered"):
        run_tool(monkeypatch, src, dst, '--force', '--dataset', 'Oranges')


def test_what_the_tool_prints(tmp_path, monkeypatch, capsys):
    src, dst = tmp_path / 'official.pth', tmp_path / 'dst.pth'
    torch.save(official(E), src)
    run_tool(monkeypatch, src, dst)
    assert capsys.readouterr().out.splitlines() == [
        f'recognised FastSegFormer-E in {src}',
        '  backbone:   EfficientFormerV2-S0',
        '  decoder:    PPM, no image branch',
        '  classes:    4',
        '  parameters: 4,482,836',
        f'wrote {dst}',
    ]
    torch.save(imagenet('fastsegformer_p'), src)
    run_tool(monkeypatch, src, dst, '--force')
    out = capsys.readouterr().out
    assert 'recognised PoolFormer-S12' in out
    assert 'dropped, the classifier: norm.weight, norm.bias, head.weight' in out
    assert 'start untrained: norm0.weight' in out
    assert 'classes' not in out
