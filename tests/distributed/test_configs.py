"""SyncBN and FSDP as the configs set them."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import convert_sync_batchnorm
from mmengine.registry import FUNCTIONS, STRATEGIES, init_default_scope
from mmseg.registry import MODELS
from torch import nn

from fastsegformer_mm.engine.distributed import wrap_policy

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
SHARDED = CONFIGS / 'swin_att_unet' / 'att-unet_swin-t_2xb6-100e_neu-seg-512x512.py'
STUDENT = 'fastsegformer-e_efficientformerv2-s0_1xb32-100e_neu-seg-224x224.py'


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')


def test_sync_bn_converts_every_batch_norm():
    sync_bn = Config.fromfile(CONFIGS / '_base_/distributed/sync_bn.py').sync_bn
    cfg = Config.fromfile(CONFIGS / 'fastsegformer' / STUDENT)
    model = MODELS.build(cfg.model)
    before = [n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)]
    values = {k: v.clone() for k, v in model.state_dict().items()}
    model = convert_sync_batchnorm(model, sync_bn)
    after = [n for n, m in model.named_modules() if isinstance(m, nn.SyncBatchNorm)]
    assert len(before) > 50
    assert before == after
    assert not [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(torch.equal(v, values[k]) for k, v in model.state_dict().items())


def test_sharded_config_is_the_other_one():
    """But for the strategy."""
    sharded = Config.fromfile(SHARDED)
    plain = Config.fromfile(str(SHARDED).replace('_2xb6', '_1xb6'))
    strategy = {k: sharded.pop(k) for k in ('runner_type', 'strategy')}
    assert sharded.to_dict() == plain.to_dict()
    assert strategy['runner_type'] == 'FlexibleRunner'
    assert strategy['strategy']['type'] in STRATEGIES


def test_wrap_policy_spares_heads():
    """Over the whole teacher: large modules, and no head."""
    cfg = Config.fromfile(SHARDED)
    options = dict(cfg.strategy.model_wrapper.auto_wrap_policy)
    # as MMEngine looks it up, without an entry in its registry
    policy = FUNCTIONS.get(options.pop('type'))
    assert 'segmentor_wrap_policy' not in FUNCTIONS.module_dict
    assert policy is wrap_policy.segmentor_wrap_policy
    model = MODELS.build(cfg.model)
    size = {m: sum(p.numel() for p in m.parameters()) for m in model.modules()}
    large = [m for m in model.modules() if size[m] >= options['min_num_params']]
    wrapped = [m for m in large if policy(m, False, size[m], **options)]
    assert model.decode_head in large
    assert model.decode_head not in wrapped
    assert model.backbone in wrapped
    assert not [m for m in wrapped if isinstance(m, nn.ModuleList)]
    # its layers are looked at
    assert policy(model.decode_head, True, size[model.decode_head], **options)
    assert [m for m in wrapped if m in set(model.decode_head.modules())]
