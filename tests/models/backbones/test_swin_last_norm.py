import pytest
import torch
from mmseg.models.backbones import SwinTransformer
from mmseg.models.utils.embed import PatchMerging
from mmseg.registry import MODELS
from torch import nn

from fastsegformer_mm.models.backbones.swin_last_norm import (
    SwinLastNorm,
    convert_official_swin,
)

TINY = {'embed_dims': 8, 'depths': (1, 1, 2, 1), 'num_heads': (1, 1, 2, 2)}


def official_weights(backbone):
    """The same weights as Swin's own repository would save them."""
    weights = {'head.weight': torch.rand(10, 64), 'head.bias': torch.rand(10)}
    renames = (
        ('patch_embed.projection.', 'patch_embed.proj.'),
        ('stages.', 'layers.'),
        ('.attn.w_msa.', '.attn.'),
        ('.ffn.layers.0.0.', '.mlp.fc1.'),
        ('.ffn.layers.1.', '.mlp.fc2.'),
        ('norm3.', 'norm.'),
    )
    for key, value in backbone.state_dict().items():
        if '.downsample.' in key:
            # (channel, row, column) -> (column, row, channel)
            value = value.unflatten(-1, (-1, 2, 2)).transpose(-1, -3).flatten(-3)
        for old, new in renames:
            key = key.replace(old, new)
        weights[key] = value
    weights['layers.0.blocks.0.attn_mask'] = torch.rand(4, 49, 49)
    return weights


def test_patch_merging_order():
    """MMSegmentation's layer on converted weights is the official layer."""
    norm, reduction = nn.LayerNorm(12), nn.Linear(12, 6, bias=False)
    nn.init.uniform_(norm.weight)
    nn.init.uniform_(norm.bias)
    x = torch.rand(2, 4, 6, 3)
    patches = [x[:, i::2, j::2] for i, j in ((0, 0), (1, 0), (0, 1), (1, 1))]
    expected = reduction(norm(torch.cat(patches, -1))).flatten(1, 2)

    merging = PatchMerging(3, 6)
    weights = convert_official_swin(
        {
            'layers.0.downsample.norm.weight': norm.weight,
            'layers.0.downsample.norm.bias': norm.bias,
            'layers.0.downsample.reduction.weight': reduction.weight,
        }
    )
    merging.load_state_dict(
        {k.removeprefix('stages.0.downsample.'): v for k, v in weights.items()}
    )
    out, size = merging(x.flatten(1, 2), (4, 6))
    assert size == (2, 3)
    torch.testing.assert_close(out, expected)


def test_only_the_last_output_is_normalised():
    ours, stock = SwinLastNorm(**TINY), SwinTransformer(**TINY)
    count = {m: sum(p.numel() for p in m.parameters()) for m in (ours, stock)}
    assert count[stock] - count[ours] == 2 * (8 + 16 + 32)

    stock.load_state_dict(ours.state_dict(), strict=False)
    for m in (ours, stock):
        m.eval()
    x = torch.rand(1, 3, 60, 75)
    outs, normed = ours(x), stock(x)
    assert [tuple(o.shape[1:]) for o in outs] == [
        (8, 15, 19),
        (16, 8, 10),
        (32, 4, 5),
        (64, 2, 3),
    ]
    for i in range(3):
        norm = getattr(stock, f'norm{i}')
        expected = norm(outs[i].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        torch.testing.assert_close(normed[i], expected)
        assert (normed[i] - outs[i]).abs().max() > 0.1
    torch.testing.assert_close(outs[3], normed[3])


def test_last_of_fewer_outputs():
    backbone = SwinLastNorm(out_indices=(1, 2), **TINY)
    assert isinstance(backbone.norm1, nn.Identity)
    assert isinstance(backbone.norm2, nn.LayerNorm)
    assert [o.shape[1] for o in backbone(torch.rand(1, 3, 64, 64))] == [16, 32]


def test_frozen_stages():
    backbone = SwinLastNorm(frozen_stages=2, **TINY)
    backbone.train()
    frozen = {n.split('.')[0] for n, p in backbone.named_parameters()}
    trained = {
        '.'.join(n.split('.')[:2])
        for n, p in backbone.named_parameters()
        if p.requires_grad
    }
    assert 'patch_embed' in frozen
    assert trained == {'stages.2', 'stages.3', 'norm3.weight', 'norm3.bias'}


@pytest.mark.parametrize('wrap', [None, 'model', 'state_dict'])
def test_official_file_in_init_cfg(tmp_path, wrap):
    source = SwinLastNorm(**TINY)
    for p in source.parameters():
        nn.init.uniform_(p)
    weights = official_weights(source)
    path = str(tmp_path / 'swin.pth')
    torch.save({wrap: weights} if wrap else weights, path)

    init_cfg = {'type': 'Pretrained', 'checkpoint': path}
    backbone = MODELS.build({'type': 'SwinLastNorm', 'init_cfg': init_cfg, **TINY})
    backbone.init_weights()
    loaded = backbone.state_dict()
    for key, value in source.state_dict().items():
        torch.testing.assert_close(loaded[key], value, msg=key)


def test_foreign_file_in_init_cfg(tmp_path):
    path = str(tmp_path / 'resnet.pth')
    torch.save({'layer1.0.conv1.weight': torch.rand(2)}, path)
    init_cfg = {'type': 'Pretrained', 'checkpoint': path}
    backbone = SwinLastNorm(init_cfg=init_cfg, **TINY)
    with pytest.raises(RuntimeError, match=r"begin with \['layer1.0.conv1.weight'\]"):
        backbone.init_weights()


def test_official_names_leave_nothing_over():
    weights = official_weights(SwinLastNorm(**TINY))
    result = SwinLastNorm(**TINY).load_state_dict(weights, strict=False)
    assert result.unexpected_keys == []
    # index tables, which the constructor makes
    assert all('relative_position_index' in key for key in result.missing_keys)


def test_own_weights_load_inside_a_network():
    source, target = (nn.ModuleDict({'backbone': SwinLastNorm(**TINY)}) for _ in '12')
    nn.init.uniform_(source['backbone'].norm3.weight)
    target.load_state_dict(source.state_dict())
    torch.testing.assert_close(
        target['backbone'].norm3.weight, source['backbone'].norm3.weight
    )
