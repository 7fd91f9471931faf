"""The deploy form of whole networks."""

import copy
import runpy
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import fastsegformer_mm.deploy.reparameterize as module
from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.network import DeployNetwork, load_network
from fastsegformer_mm.deploy.reparameterize import PASSES, reparameterize

ROOT = Path(__file__).parents[2]
build = runpy.run_path(str(ROOT / 'tests' / 'golden' / 'networks.py'))['build']
trained_like = runpy.run_path(str(Path(__file__).with_name('trained_like.py')))[
    'trained_like'
]

# places that each pass changes, in the order of PASSES, when all run
COUNTS = {
    'fastsegformer_e': [2, 112, 2, 0, 18, 5, 1],
    'fastsegformer_e_ppm': [2, 108, 2, 0, 18, 5, 1],
    'fastsegformer_e_noirb': [2, 109, 2, 0, 18, 5, 0],
    'fastsegformer_e_ppm_noirb': [2, 105, 2, 0, 18, 5, 0],
    'fastsegformer_p': [2, 26, 14, 12, 24, 0, 1],
    'fastsegformer_p_ppm': [2, 22, 14, 12, 24, 0, 1],
    'fastsegformer_p_noirb': [2, 23, 14, 12, 24, 0, 0],
    'fastsegformer_p_ppm_noirb': [2, 19, 14, 12, 24, 0, 0],
    'fastsegformer_s24': [2, 38, 26, 24, 48, 0, 0],
    'fastsegformer_s36': [2, 47, 38, 36, 72, 0, 0],
    'fastsegformer_swin_t': [0, 47, 0, 0, 0, 0, 0],
}
RIVALS = {
    'fast-scnn': (44, 0),
    'bisenetv2': (53, 0),
    'pidnet-s': (66, 13),  # the rest stands in front of an activation
    'segformer_mit-b0': (5, 0),
}


@pytest.fixture(scope='module')
def network():
    """A trained-like network by name, one at a time in memory."""
    kept = {}

    def get(name):
        if name not in kept:
            kept.clear()
            kept[name] = trained_like(DeployNetwork(build(name)))
        return kept[name]

    return get


@pytest.fixture
def counts(monkeypatch):
    """What the passes of a run reported."""
    seen = {}

    def watched(name, function):
        def run(*args):
            seen[name] = function(*args)
            return seen[name]

        return run

    for name, function in list(module.FUNCTIONS.items()):
        monkeypatch.setitem(module.FUNCTIONS, name, watched(name, function))
    return seen


def image(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def difference(one, other, x):
    """Largest difference of two networks, a share of the largest logit."""
    expected = one(x)
    return float((other(x) - expected).abs().max() / expected.abs().max())


def norms(network, kinds=_BatchNorm):
    return sum(isinstance(m, kinds) for m in network.modules())


@pytest.mark.parametrize('name', COUNTS)
def test_equal_with_all_passes(name, network, counts):
    fast = reparameterize(network(name))
    assert [counts[key] for key in PASSES] == COUNTS[name]
    assert difference(network(name), fast, image(2, 3, 67, 45)) < 1e-5
    assert norms(fast) == 0


def test_what_is_left_of_e(network):
    before = Counter(type(m).__name__ for m in network('fastsegformer_e').modules())
    fast = reparameterize(network('fastsegformer_e'))
    after = Counter(type(m).__name__ for m in fast.modules())
    assert before['BatchNorm2d'] == 116
    gone = ('BatchNorm2d', 'Block', 'Attention', 'StridedAttention')
    assert [after[key] for key in gone] == [0, 0, 0, 0]
    assert after['Conv2d'] == before['Conv2d']
    assert not [k for k, _ in fast.named_parameters() if 'layer_scale' in k]
    assert fast.segmentor.decode_head.branch.fuse[1].out_channels == 4


def test_what_is_left_of_p(network):
    fast = reparameterize(network('fastsegformer_p'))
    left = [m for m in fast.modules() if isinstance(m, nn.GroupNorm)]
    # one before each feed-forward and one at each output that is read
    assert norms(network('fastsegformer_p'), nn.GroupNorm) == 28
    assert len(left) == 14
    assert not any(m.affine for m in left)
    assert not [k for k, _ in fast.named_parameters() if 'layer_scale' in k]


def test_the_network_itself_stays(network):
    original = network('fastsegformer_p')
    kept = {k: v.clone() for k, v in original.state_dict().items()}
    kinds = [type(m) for m in original.modules()]
    fast = reparameterize(original)
    assert [type(m) for m in original.modules()] == kinds
    assert all(torch.equal(v, kept[k]) for k, v in original.state_dict().items())
    assert not fast.training
    assert not any(p.requires_grad for p in fast.parameters())


def test_only_the_passes_asked_for(network, counts):
    fast = reparameterize(network('fastsegformer_p'), ['conv_bn', 'unread_norms'])
    assert counts == {'conv_bn': 26, 'unread_norms': 2}
    assert norms(fast) == 0
    assert norms(fast, nn.GroupNorm) == 26
    same = reparameterize(network('fastsegformer_p'), [])
    assert norms(same) == 26


def test_example_of_another_size(network):
    """The bias of the attention is laid out for it, and right for the others."""
    original = network('fastsegformer_e')
    fast = reparameterize(original, example=image(1, 3, 96, 64))
    grids = {
        name: part.grid for name, part in fast.named_modules() if hasattr(part, 'grid')
    }
    assert set(grids.values()) == {(3, 2), (6, 4)}
    for size in ((96, 64), (64, 96)):
        assert difference(original, fast, image(1, 3, *size)) < 1e-5


@pytest.mark.parametrize('name', RIVALS)
def test_other_networks(name, counts):
    config = f'configs/comparison/{name}_1xb32-100e_neu-seg-224x224.py'
    original, _ = load_network(ROOT / config, allow_random=True)
    # float64, since PIDNet turns the rounding of float32 into errors of up to 3e-3
    trained_like(original).double()
    fast = reparameterize(original)
    assert (counts['conv_bn'], norms(fast)) == RIVALS[name]
    assert difference(original, fast, image(2, 3, 96, 64).double()) < 1e-9


class Layers(nn.Module):
    """Convolution and norm, with what comes after them."""

    def __init__(self, after):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.after = after

    def forward(self, x):
        return self.after(self.norm(self.conv(x)))


def test_rounding_is_no_error():
    original = trained_like(Layers(lambda x: (1e6 * x).sin()))
    fast = reparameterize(original)
    assert norms(fast) == 0
    x = image(1, 3, 16, 16)
    assert fast(x).dtype == torch.float32
    assert difference(original, fast, x) > 1e-3  # so the comparison was another
    with torch.no_grad():
        both = [net.norm(net.conv(x)) for net in (original, fast)]
    assert torch.allclose(*both, atol=1e-5)


def test_a_network_that_insists_on_its_type(monkeypatch):
    kernel = torch.ones(2, 4, 1, 1)
    original = trained_like(Layers(lambda x: nn.functional.conv2d(x, kernel)))
    fast = reparameterize(original)
    assert norms(fast) == 0
    assert difference(original, fast, image(1, 3, 16, 16)) < 1e-5
    # and is still compared, less strictly
    errors = {1e-4: None, 1e-2: r'by 1.0e-02 of .*; expected 1e-03 at most'}
    for error, message in errors.items():

        def wrong(network, example, error=error):
            network.after = lambda x: (1 + error) * original.after(x)
            return 1

        monkeypatch.setitem(module.FUNCTIONS, 'conv_bn', wrong)
        if message is None:
            reparameterize(original)
        else:
            with pytest.raises(DeployError, match=message):
                reparameterize(original)


def test_errors(network, monkeypatch):
    original = network('fastsegformer_p')
    with pytest.raises(DeployError, match=r"passes has \['conv'\]; .*'conv_bn'"):
        reparameterize(original, ['conv'])
    with pytest.raises(DeployError, match=r'torch.bfloat16; expected float32'):
        reparameterize(copy.deepcopy(original).bfloat16())

    def wrong(network, example):
        network.segmentor.decode_head.conv_seg.bias.data += 1
        return 1

    monkeypatch.setitem(module.FUNCTIONS, 'conv_bn', wrong)
    with pytest.raises(DeployError, match=r'\(conv_bn 1\) differs .* by \d'):
        reparameterize(original, ['conv_bn'])

    def slightly_wrong(network, example):
        network.segmentor.decode_head.conv_seg.weight.data *= 1 + 1e-5
        return 1

    monkeypatch.setitem(module.FUNCTIONS, 'conv_bn', slightly_wrong)
    with pytest.raises(DeployError, match=r'by \d.\de-0[56] of .*; expected 1e-06'):
        reparameterize(original, ['conv_bn'])


def test_log(network, monkeypatch):
    lines = []
    monkeypatch.setattr(module, 'print_log', lambda text, **_: lines.append(text))
    reparameterize(network('fastsegformer_p'), ['unread_norms', 'layer_scale'])
    assert len(lines) == 1
    assert lines[0].startswith('Deploy form: unread_norms 2, layer_scale 24; differs')
