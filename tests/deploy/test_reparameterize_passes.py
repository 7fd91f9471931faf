"""Each pass by itself, in float64: there is no rounding to hide behind."""

import copy
import runpy
from pathlib import Path

import pytest
import torch
from mmcv.cnn import ConvModule
from torch import nn

from fastsegformer_mm.deploy.passes import PASSES
from fastsegformer_mm.deploy.passes.pool_mixer import PoolMixer
from fastsegformer_mm.deploy.reparameterize import reparameterize

helpers = runpy.run_path(str(Path(__file__).with_name('tiny_networks.py')))
tiny, trained_like = helpers['tiny'], helpers['trained_like']
BACKBONES = ('e', 'p')
# places that each pass finds when it runs alone
ALONE = {
    'e': dict(zip(PASSES, (2, 59, 3, 0, 7, 3, 1))),
    'p': dict(zip(PASSES, (2, 23, 7, 5, 10, 0, 1))),
}


def image(*shape):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@torch.no_grad()
def run(name, network, x):
    """Run a pass; (places changed, largest difference of the outputs)."""
    changed = copy.deepcopy(network)
    count = PASSES[name](changed, x)
    return changed, count, float((changed(x) - network(x)).abs().max())


@pytest.mark.parametrize('name', PASSES)
@pytest.mark.parametrize('kind', BACKBONES)
def test_alone(kind, name):
    network = tiny(kind)
    changed, count, error = run(name, network, image(2, 3, 64, 64))
    assert count == ALONE[kind][name]
    assert error < 1e-11
    x = image(1, 3, 45, 75)
    assert (changed(x) - network(x)).abs().max() < 1e-11
    if count:
        # and nothing is left for a second time
        assert PASSES[name](changed, x) == 0


@pytest.mark.parametrize('kind', BACKBONES)
@pytest.mark.parametrize(
    'head', [{}, {'pyramid': 'ppm'}, {'branch_refine_channels': 8}], ids=str
)
def test_together(kind, head):
    network, x = tiny(kind, **head), image(2, 3, 45, 75)
    fast = reparameterize(network, example=image(1, 3, 64, 64))
    assert (fast(x) - network(x)).abs().max() < 1e-11


class Net(nn.Module):
    """Layers by name and a function of them and the input."""

    def __init__(self, function, **layers):
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x):
        return self.function(self, x)


def net(function, **layers):
    network = trained_like(Net(function, **layers)).double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            # small enough for eps to matter
            module.running_var[0] = 1e-5
    return network


BN = dict(norm_cfg=dict(type='BN'))
FOLDED = {
    'depthwise': nn.Sequential(nn.Conv2d(4, 8, 3, 2, 1, groups=4), nn.BatchNorm2d(8)),
    'circular': nn.Sequential(
        nn.Conv2d(4, 6, 3, padding=1, padding_mode='circular'), nn.BatchNorm2d(6)
    ),
    'without affine': nn.Sequential(
        nn.Conv2d(4, 6, 1, bias=False), nn.BatchNorm2d(6, affine=False), nn.GELU()
    ),
    'transposed': nn.Sequential(nn.ConvTranspose2d(4, 6, 3, 2), nn.BatchNorm2d(6)),
    'module': ConvModule(4, 6, 3, padding=1, **BN),
    'reflecting module': ConvModule(4, 6, 3, padding=1, padding_mode='reflect', **BN),
    'efficient module': ConvModule(4, 6, 3, efficient_conv_bn_eval=True, **BN),
}


@pytest.mark.parametrize('name', FOLDED)
def test_conv_bn(name):
    layers = copy.deepcopy(FOLDED[name])
    if name == 'without affine':
        layers[1].running_var.fill_(0.7)
        network = layers.double().eval()
    else:
        network = net(lambda self, x: self.layers(x), layers=layers)
    changed, count, error = run('conv_bn', network, image(2, 4, 9, 7))
    assert count == 1
    assert not any(isinstance(m, nn.BatchNorm2d) for m in changed.modules())
    assert error < 1e-12


def shared_weight():
    one, two = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
    two.weight = one.weight
    return nn.Sequential(one, nn.BatchNorm2d(4), two)


# a convolution and a norm that may not be folded
KEPT = {
    'conv read twice': net(
        lambda self, x: (y := self.conv(x)) + self.norm(y),
        conv=nn.Conv2d(4, 4, 1),
        norm=nn.BatchNorm2d(4),
    ),
    'conv put out': net(
        lambda self, x: torch.cat([y := self.conv(x), self.norm(y)]),
        conv=nn.Conv2d(4, 4, 1),
        norm=nn.BatchNorm2d(4),
    ),
    'conv run twice': net(
        lambda self, x: self.norm(self.conv(x)) + self.other(self.conv(x + 1)),
        conv=nn.Conv2d(4, 4, 1),
        norm=nn.BatchNorm2d(4),
        other=nn.BatchNorm2d(4),
    ),
    'norm run twice': net(
        lambda self, x: self.norm(self.conv(x)) + self.norm(x),
        conv=nn.Conv2d(4, 4, 1),
        norm=nn.BatchNorm2d(4),
    ),
    'written to before': net(
        lambda self, x: self.norm(self.conv(x).relu_()),
        conv=nn.Conv2d(4, 4, 1),
        norm=nn.BatchNorm2d(4),
    ),
    'written to by index': net(
        lambda self, x: (
            (y := self.conv(x)).__setitem__((0, 1), 0.5),
            self.norm(y),
        )[1],
        conv=nn.Conv2d(4, 4, 1),
        norm=nn.BatchNorm2d(4),
    ),
    'weight shared': shared_weight().double().eval(),
    'groups transposed': nn.Sequential(
        nn.ConvTranspose2d(4, 4, 1, groups=2), nn.BatchNorm2d(4)
    )
    .double()
    .eval(),
    'other order': net(
        lambda self, x: self.layers(x),
        layers=ConvModule(4, 4, 1, order=('norm', 'act', 'conv'), **BN),
    ),
    'spectral norm': net(
        lambda self, x: self.layers(x),
        layers=ConvModule(4, 4, 1, with_spectral_norm=True, **BN),
    ),
    'in training': nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)).double(),
    'batch statistics': nn.Sequential(
        nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)
    )
    .double()
    .eval(),
}


@pytest.mark.parametrize('name', KEPT)
def test_conv_bn_keeps(name):
    _, count, error = run('conv_bn', KEPT[name], image(2, 4, 5, 5))
    assert count == 0
    assert error == 0


def reader(**options):
    return nn.Conv2d(4, 6, 3, **{'padding': 0, **options})


@pytest.mark.parametrize(
    ('norm', 'one', 'two', 'expected'),
    [
        (nn.BatchNorm2d(4), reader(), reader(groups=2), 1),
        (nn.BatchNorm2d(4), reader(bias=False), reader(padding='valid'), 1),
        (nn.GroupNorm(2, 4), reader(stride=2), reader(), 1),
        (nn.BatchNorm2d(4), reader(), reader(padding=1), 0),
        (nn.GroupNorm(2, 4), reader(padding='same'), reader(), 0),
        (nn.BatchNorm2d(4), reader(), nn.ReLU(), 0),
        (nn.GroupNorm(2, 4, affine=False), reader(), reader(), 0),
    ],
    ids=str,
)
def test_norm_conv(norm, one, two, expected):
    def forward(self, x):
        y = self.norm(x)
        return self.one(y).sum() + self.two(y).sum(1)

    network = Net(forward, norm=norm, one=one, two=two)
    if getattr(norm, 'affine', True):
        trained_like(network)
    changed, count, error = run('norm_conv', network.double(), image(2, 4, 7, 5))
    assert count == expected
    assert error < 1e-11
    left = [m for m in changed.modules() if getattr(m, 'affine', False)]
    assert bool(left) == (not expected and norm.affine)


def test_norm_conv_keeps_a_norm_that_is_put_out():
    network = net(
        lambda self, x: torch.cat([y := self.norm(x), self.conv(y)]),
        norm=nn.BatchNorm2d(4),
        conv=nn.Conv2d(4, 4, 1),
    )
    assert run('norm_conv', network, image(2, 4, 5, 5))[1:] == (0, 0)


def test_norm_conv_keeps_a_convolution_of_something_else():
    network = net(
        lambda self, x: self.conv(self.norm(x)) + self.conv(x),
        norm=nn.BatchNorm2d(4),
        conv=nn.Conv2d(4, 4, 1),
    )
    assert run('norm_conv', network, image(2, 4, 5, 5))[1:] == (0, 0)


def test_unread_norms_keeps_what_is_read():
    def forward(self, x):
        maps = [self.one(x), self.two(x), self.three(x)]
        return maps[1], torch.zeros_like(maps[2].mean())

    norms = dict(
        one=nn.BatchNorm2d(4), two=nn.GroupNorm(2, 4), three=nn.GroupNorm(1, 4)
    )
    network = net(forward, **norms, never=nn.BatchNorm2d(4))
    assert PASSES['unread_norms'](network, image(1, 4, 5, 5)) == 1
    kinds = [type(m).__name__ for m in network.children()]
    assert kinds == ['Identity', 'GroupNorm', 'GroupNorm', 'BatchNorm2d']


def pool_block(network):
    blocks = [m for m in network.modules() if type(m).__name__ == 'PoolFormerBlock']
    return blocks[0]


@pytest.mark.parametrize('size', [3, 5])
@pytest.mark.parametrize('grid', [(7, 6), (1, 4), (2, 2), (1, 1)])
def test_pool_mixer_at_the_border(size, grid):
    norm = trained_like(nn.GroupNorm(1, 4)).double()
    pool = nn.AvgPool2d(size, 1, size // 2, count_include_pad=False)
    x = image(2, 4, *grid)
    y = norm(x)
    for laid_out in (grid, (9, 9)):
        mixer = PoolMixer(norm, pool, laid_out)
        assert (mixer(x) - (pool(y) - y)).abs().max() < 1e-12
    if size == 3:
        # exact in any type
        assert set(mixer.shares.flatten().tolist()) == {1, 1.5, 2.25}


def test_pool_mixer_with_a_variance_as_small_as_eps():
    network, x = tiny('p'), image(2, 3, 64, 64) * 1e-3
    changed, count, error = run('pool_mixer', network, x)
    assert count == 5
    assert sum(isinstance(m, PoolMixer) for m in changed.modules()) == 5
    assert error < 1e-11


def test_pool_mixer_needs_a_mean():
    for option, value in (('count_include_pad', True), ('divisor_override', 2)):
        network = tiny('p')
        setattr(pool_block(network).token_mixer.pool, option, value)
        _, count, error = run('pool_mixer', network, image(1, 3, 64, 64))
        assert count == 4
        assert error < 1e-11
    network = tiny('p')
    norm = pool_block(network).norm1
    pool_block(network).norm1 = nn.GroupNorm(2, norm.num_channels).double()
    assert run('pool_mixer', network, image(1, 3, 64, 64))[1:] == (4, pytest.approx(0))


def test_layer_scale_needs_a_place():
    network = tiny('p')
    norm = pool_block(network).norm1
    pool_block(network).norm1 = nn.GroupNorm(1, norm.num_channels, affine=False)
    _, count, error = run('layer_scale', network, image(1, 3, 64, 64))
    assert count == 8
    assert error < 1e-11


def test_attention_without_what_softmax_does_not_see():
    changed, count, _ = run('attention', tiny('e'), image(1, 3, 64, 64))
    heads = [m for k, m in changed.named_modules() if k.endswith('talking_head1')]
    assert [(type(m), m.bias) for m in heads] == [(nn.Conv2d, None)] * (count - 1)


def test_bias_is_laid_out_for_the_size_that_is_given():
    changed = reparameterize(tiny('e'), ['attention'], example=(96, 160))
    grids = {m.grid for m in changed.modules() if hasattr(m, 'laid_out')}
    assert grids == {(3, 5), (6, 10)}


def test_early_classifier():
    changed, count, _ = run('early_classifier', tiny('e'), image(1, 3, 64, 64))
    seen = []
    head = changed.segmentor.decode_head
    head.branch.register_forward_hook(lambda *args: seen.append(args[2].shape))
    changed(image(1, 3, 64, 64))
    assert seen == [(1, 3, 32, 32)]
    assert count == 1
    for head in ({'branch_refine_channels': 8}, {'branch_channels': None}):
        if head == {'branch_channels': None}:
            head['in_channels'] = [8, 10, 12, 14]
        assert run('early_classifier', tiny('e', **head), image(1, 3, 64, 64))[1] == 0
