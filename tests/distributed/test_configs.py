"""SyncBN and FSDP as the configs set them; adaptation to a machine without a GPU."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dist import utils as dist_utils
from mmengine.model import MMDistributedDataParallel, convert_sync_batchnorm
from mmengine.registry import FUNCTIONS, STRATEGIES, init_default_scope
from mmseg.registry import MODELS
from torch import nn

from fastsegformer_mm.engine.distributed import (
    cpu_launchers,
    restarted_job,
    wrap_policy,
)

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
    policy = FUNCTIONS.get(options.pop('type'))
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


class Recorded:
    """Stands in for a launcher's start."""

    def __init__(self, monkeypatch, name='_init_dist_pytorch'):
        self.calls = []

        def start(backend, **kwargs):
            self.calls.append((backend, kwargs, torch.cuda.set_device(0)))

        monkeypatch.setattr(dist_utils, name, start)
        self.start = start


@pytest.mark.parametrize(('backend', 'used'), [('nccl', 'gloo'), ('mpi', 'mpi')])
def test_no_device_is_selected_without_one(monkeypatch, backend, used):
    recorded = Recorded(monkeypatch)
    at_exit = []
    monkeypatch.setattr(cpu_launchers.atexit, 'register', at_exit.append)
    select = torch.cuda.set_device
    cpu_launchers._without_gpu(recorded.start)(backend, timeout=3)
    assert recorded.calls == [(used, dict(timeout=3), None)]
    assert at_exit == [cpu_launchers._leave]
    at_exit[0]()  # of a group that was never joined
    assert torch.cuda.set_device is select


def test_nothing_is_replaced_where_there_is_a_gpu(monkeypatch):
    monkeypatch.setattr(cpu_launchers, 'get_device', lambda: 'cuda')
    before = [getattr(dist_utils, name) for name in cpu_launchers.LAUNCHERS]
    init = MMDistributedDataParallel.__init__
    assert cpu_launchers.allow_cpu_launchers.__wrapped__() is False
    after = [getattr(dist_utils, name) for name in cpu_launchers.LAUNCHERS]
    assert before == after
    assert MMDistributedDataParallel.__init__ is init


def test_replaced_once():
    before = dist_utils._init_dist_pytorch
    cpu_launchers.allow_cpu_launchers()
    assert dist_utils._init_dist_pytorch is before


@pytest.mark.parametrize(('attempt', 'store', 'machines', 'replaced'), [
    ('0', 'True', '1', False), ('1', 'False', '1', False), ('2', 'True', '1', True),
    ('1', 'True', '2', False)])
def test_restarted_processes_meet_elsewhere(
        monkeypatch, attempt, store, machines, replaced):
    recorded, said = Recorded(monkeypatch), []
    monkeypatch.setattr(
        restarted_job, 'print_log', lambda line, logger: said.append(line))
    for key, value in dict(
            TORCHELASTIC_RESTART_COUNT=attempt, TORCHELASTIC_USE_AGENT_STORE=store,
            GROUP_WORLD_SIZE=machines, MASTER_ADDR='127.0.0.1', MASTER_PORT='1',
            RANK='1', WORLD_SIZE='2').items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(restarted_job, 'TCPStore', lambda *args, **kwargs: args)
    monkeypatch.setattr(restarted_job, 'PrefixStore', lambda *args: args)
    monkeypatch.setattr(torch.cuda, 'set_device', lambda device: None)
    assert restarted_job.rejoin_after_restart.__wrapped__() is replaced
    dist_utils._init_dist_pytorch('nccl', timeout=4)
    (backend, kwargs, _), = recorded.calls
    assert (backend, kwargs['timeout']) == ('nccl', 4)
    if replaced:
        assert kwargs['store'] == ('attempt_2', ('127.0.0.1', 1, 2))
        assert (kwargs['rank'], kwargs['world_size']) == (1, 2)
    else:
        assert 'store' not in kwargs
    hints = [line for line in said if 'TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1' in line]
    assert len(hints) == (machines == '2')
