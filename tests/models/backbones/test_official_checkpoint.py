import functools
import http.server
import threading
from collections import OrderedDict

import pytest
import torch
from mmseg.registry import MODELS

from fastsegformer_mm.models.backbones.efficientformer_v2 import EfficientFormerV2
from fastsegformer_mm.models.backbones.official_checkpoint import load_official_backbone

TINY = {
    'embed_dims': [8, 8, 16, 16],
    'mlp_ratios': [[2], [2], [2, 3], [3, 2]],
    'num_attention': 1,
}


def random_weights(seed=0):
    """A backbone's weights, every tensor different from the start's."""
    torch.manual_seed(seed)
    weights = EfficientFormerV2(TINY).state_dict()
    for value in weights.values():
        if value.is_floating_point():
            value.uniform_(1, 2)
    return weights


def imagenet_weights():
    """What an official ImageNet file holds: a classifier, no output norms."""
    weights = random_weights()
    for key in list(weights):
        if key.startswith('norm'):
            del weights[key]
    for name in ('norm.weight', 'norm.running_mean', 'head.bias', 'dist_head.bias'):
        weights[name] = torch.ones(16)
    for name in (
        'network.4.1.token_mixer',
        'network.5.attn',
        'network.6.1.token_mixer',
    ):
        weights[f'{name}.attention_bias_idxs'] = torch.zeros(4, 4, dtype=torch.long)
    return weights


def save(content, path):
    torch.save(content, path)
    return str(path)


def pretrained(path, **kwargs):
    return {'type': 'Pretrained', 'checkpoint': str(path), **kwargs}


def assert_loaded(model, weights, but=()):
    for key, value in model.state_dict().items():
        if key.startswith(tuple(but)):
            continue
        assert torch.equal(value, weights[key]), key


NORMS = ('norm0.', 'norm2.', 'norm4.', 'norm6.')


@pytest.mark.parametrize(
    'wrap',
    [
        lambda w: w,
        lambda w: {'state_dict': w, 'epoch': 3},
        lambda w: {'model': w, 'optimizer': {'lr': 0.1}},
        lambda w: {'model': OrderedDict(('module.' + k, v) for k, v in w.items())},
    ],
    ids=['bare', 'state_dict', 'model', 'distributed'],
)
def test_official_files(tmp_path, wrap):
    weights = imagenet_weights()
    path = save(wrap(weights), tmp_path / 'official.pth')
    model = EfficientFormerV2(TINY, init_cfg=pretrained(path))
    model.init_weights()
    assert_loaded(model, weights, but=NORMS)
    # the norms of the outputs are at their start
    assert (model.norm0.weight == 1).all()
    assert (model.norm0.bias == 0).all()
    # a second call changes nothing
    model.init_weights()
    assert_loaded(model, weights, but=NORMS)


def test_through_the_segmentor(tmp_path):
    weights = imagenet_weights()
    path = save({'model': weights}, tmp_path / 'official.pth')
    segmentor = MODELS.build(
        {
            'type': 'EncoderDecoder',
            'backbone': {
                'type': 'EfficientFormerV2',
                'arch': TINY,
                'init_cfg': pretrained(path),
            },
            'decode_head': {
                'type': 'FCNHead',
                'in_channels': 16,
                'in_index': 3,
                'channels': 8,
                'num_convs': 1,
                'num_classes': 4,
            },
        }
    )
    segmentor.init_weights()
    assert_loaded(segmentor.backbone, weights, but=NORMS)
    assert segmentor.backbone.init_cfg == pretrained(path)


def test_prefix(tmp_path):
    weights = random_weights()
    content = {'backbone.' + k: v for k, v in weights.items()}
    content['decode_head.conv_seg.bias'] = torch.ones(4)
    path = save({'state_dict': content}, tmp_path / 'segmentor.pth')
    for prefix in ('backbone', 'backbone.'):
        model = EfficientFormerV2(TINY, init_cfg=pretrained(path, prefix=prefix))
        model.init_weights()
        assert_loaded(model, weights)
    model = EfficientFormerV2(TINY, init_cfg=pretrained(path, prefix='encoder'))
    with pytest.raises(
        ValueError, match=r"no key under the prefix 'encoder\.'.*backbone, decode_head"
    ):
        model.init_weights()
    model = EfficientFormerV2(TINY, init_cfg=pretrained(path))
    with pytest.raises(ValueError, match=r'missing.*unexpected.*`prefix`'):
        model.init_weights()


def test_other_init_before_pretrained(tmp_path):
    weights = imagenet_weights()
    path = save(weights, tmp_path / 'official.pth')
    constant = {'type': 'Constant', 'layer': 'BatchNorm2d', 'val': 7.0}
    model = EfficientFormerV2(TINY, init_cfg=[pretrained(path), constant])
    model.init_weights()
    assert_loaded(model, weights, but=NORMS)
    assert (model.norm4.weight == 7).all()


def test_without_pretrained_weights():
    torch.manual_seed(0)
    model = EfficientFormerV2(TINY)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.init_weights()
    assert_loaded(model, before)
    normal = {'type': 'Normal', 'layer': 'Conv2d', 'std': 0.0, 'bias': 3.0}
    model = EfficientFormerV2(TINY, init_cfg=normal)
    model.init_weights()
    assert (model.patch_embed[0].weight == 0).all()
    assert (model.patch_embed[0].bias == 3).all()


def test_parts_that_were_not_asked_for(tmp_path):
    weights = random_weights()
    path = save(weights, tmp_path / 'whole.pth')
    model = EfficientFormerV2(TINY, out_indices=(0, 2), init_cfg=pretrained(path))
    model.init_weights()
    assert len(model.network) == 3
    assert_loaded(model, weights)


def test_frozen_stages_stay_frozen(tmp_path):
    weights = imagenet_weights()
    path = save(weights, tmp_path / 'official.pth')
    model = EfficientFormerV2(TINY, frozen_stages=1, init_cfg=pretrained(path))
    model.init_weights()
    assert_loaded(model, weights, but=NORMS)
    assert not model.patch_embed[0].weight.requires_grad


def test_misfits_are_listed_and_nothing_is_loaded(tmp_path):
    weights = imagenet_weights()
    del weights['patch_embed.3.bias']
    weights['network.9.weight'] = torch.ones(1)
    weights['network.5.conv.weight'] = torch.ones(2, 2)
    weights['norm0.weight'] = torch.ones(8)
    path = save(weights, tmp_path / 'odd.pth')
    model = EfficientFormerV2(TINY, init_cfg=pretrained(path))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(ValueError, match=r'odd\.pth.*does not fit') as error:
        model.init_weights()
    message = str(error.value)
    missing = 'patch_embed.3.bias, norm0.bias, norm0.running_mean, norm0.running_var'
    assert f'4 missing: {missing};' in message
    assert '1 unexpected: network.9.weight;' in message
    assert (
        '1 mismatched: network.5.conv.weight (2, 2) instead of (16, 16, 3, 3).'
        in message
    )
    assert_loaded(model, before)


def test_another_architecture(tmp_path):
    path = save(EfficientFormerV2('s1').state_dict(), tmp_path / 's1.pth')
    model = EfficientFormerV2('s0', init_cfg=pretrained(path))
    for _ in range(2):
        with pytest.raises(ValueError, match='same architecture') as error:
            model.init_weights()
    message = str(error.value)
    assert 'network.4.0.mlp.fc1.weight (480, 120, 1, 1) instead of' in message
    assert len(message) < 4000  # the first of each kind, and how many more


def test_load_official_backbone(tmp_path):
    weights = imagenet_weights()
    loaded = load_official_backbone(save({'model': weights}, tmp_path / 'a.pth'))
    assert isinstance(loaded, OrderedDict)
    assert set(loaded) == set(EfficientFormerV2(TINY).state_dict()) - {
        k for k in random_weights() if k.startswith('norm')
    }
    assert torch.equal(loaded['patch_embed.0.bias'], weights['patch_embed.0.bias'])


@pytest.mark.parametrize(
    ('content', 'found'),
    [
        ({'epoch': 3, 'model': [1, 2]}, 'a dict with the keys epoch, model'),
        ([torch.ones(2)], 'a list'),
        ({}, 'a dict with the keys'),
    ],
)
def test_files_without_weights(tmp_path, content, found):
    path = save(content, tmp_path / 'other.pth')
    with pytest.raises(ValueError, match=rf'other\.pth.*holds {found}.*state_dict'):
        load_official_backbone(path)


def test_url(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'hub'))
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    (tmp_path / 'site').mkdir()
    weights = imagenet_weights()
    save({'model': weights}, tmp_path / 'site' / 'official.pth')

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Handler, directory=str(tmp_path / 'site'))
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f'http://127.0.0.1:{server.server_port}/official.pth'
        model = EfficientFormerV2(TINY, init_cfg=pretrained(url))
        model.init_weights()
    finally:
        server.shutdown()
        server.server_close()
    assert_loaded(model, weights, but=NORMS)
    # from the cache, the server being gone
    assert load_official_backbone(url)
