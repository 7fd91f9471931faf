"""``--launcher pytorch``, ``slurm`` and ``mpi`` on a machine without a GPU.

MMEngine selects a CUDA device for each process before the processes meet, and hands
the wrappers (DistributedDataParallel, FullyShardedDataParallel) the number of one;
without an NVIDIA driver either ends the job. There is no hook, registry or option at
these places (the backend alone can be configured), so they are replaced, here and
nowhere else, and only where MMEngine itself has found no accelerator. With one
nothing is touched.
"""

import atexit
import contextlib
import functools
import logging
import time

import torch
from mmengine.device import get_device
from mmengine.dist import get_rank, get_world_size
from mmengine.dist import utils as dist_utils
from mmengine.logging import print_log
from mmengine.model import MMDistributedDataParallel, MMFullyShardedDataParallel

LAUNCHERS = ('_init_dist_pytorch', '_init_dist_slurm', '_init_dist_mpi')
ONLY_FOR_GPUS = 'nccl'
FOR_CPUS = 'gloo'


@functools.cache  # a second call must not wrap what the first has wrapped
def allow_cpu_launchers() -> bool:
    """Let MMEngine's launchers work without an accelerator.

    Returns:
        bool: Whether they have been adapted: False where there is an accelerator.
    """
    if get_device() != 'cpu':
        return False
    for name in LAUNCHERS:
        setattr(dist_utils, name, _without_gpu(getattr(dist_utils, name)))
    _replace_argument(MMDistributedDataParallel, device_ids=None)
    # of None it makes the current CUDA device
    if can_shard_on_cpu():
        _replace_argument(MMFullyShardedDataParallel, device_id=torch.device('cpu'))
    else:
        MMFullyShardedDataParallel.__init__ = _refuse_to_shard
    return True


def can_shard_on_cpu() -> bool:
    """Whether this torch has FullyShardedDataParallel without a GPU: from 2.2 on."""
    try:
        torch.cpu.Stream(priority=-1)
    except (AttributeError, TypeError):
        return False
    return True


def _refuse_to_shard(self, *args, **kwargs):
    raise RuntimeError(
        f'FullyShardedDataParallel without a GPU needs torch >= 2.2, and this is '
        f'{torch.__version__}: train with DistributedDataParallel (leave out '
        'configs/_base_/distributed/fsdp.py), or on GPUs'
    )


def _without_gpu(init_dist):
    """A launcher's start that selects no device and takes gloo for nccl."""

    @functools.wraps(init_dist)
    def start(backend, **kwargs):
        replaced = backend == ONLY_FOR_GPUS
        with _no_device_to_select():
            init_dist(FOR_CPUS if replaced else backend, **kwargs)
        # MMEngine never does, and gloo's threads now and then abort a process that
        # ends with them, which makes a failure of a job that is done
        atexit.register(leave_process_group)
        # after the start: before it, every process takes itself for rank 0
        if replaced and get_rank() == 0:
            print_log(
                f'No GPU: {get_world_size()} processes on the CPU, joined by '
                f'{FOR_CPUS} instead of {ONLY_FOR_GPUS}',
                logger='current',
                level=logging.INFO,
            )

    return start


def leave_process_group():
    """End this process's part in a job whose collectives are all done.

    torch 2.1 holds the GIL while it joins gloo's threads, and one that still frees a
    tensor of the last collective waits for the GIL: it is given the time before.
    """
    if torch.distributed.is_initialized():
        time.sleep(0.5)
        torch.distributed.destroy_process_group()


def _replace_argument(wrapper, **replaced):
    """Give a model wrapper another device than the one it is called with."""
    init = wrapper.__init__

    @functools.wraps(init)
    def __init__(self, module, *args, **kwargs):
        init(self, module, *args, **{**kwargs, **replaced})

    wrapper.__init__ = __init__


@contextlib.contextmanager
def _no_device_to_select():
    select = torch.cuda.set_device
    torch.cuda.set_device = lambda device: None
    try:
        yield
    finally:
        torch.cuda.set_device = select
