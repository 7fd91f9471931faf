"""MMEngine's launchers on a machine without a GPU, and after torchrun's restarts."""

import pytest
import torch
from mmengine.dist import utils as dist_utils
from mmengine.model import MMDistributedDataParallel

from robust_training import cpu_launchers, restarted_job


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
    assert at_exit == [cpu_launchers.leave_process_group]
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
