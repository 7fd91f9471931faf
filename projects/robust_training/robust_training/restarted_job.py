"""Processes that torchrun has restarted (``--max-restarts``) meet again.

torchrun gives the processes of every attempt one and the same store to meet in
(`pytorch#135712 <https://github.com/pytorch/pytorch/issues/135712>`_). After a restart
the addresses of the killed processes are still in it, and the new ones wait for them
until the time limit, half an hour. Nothing but the start of MMEngine's launcher can be
handed another store, so that is replaced, in restarted processes only.
"""

import functools
import os

from mmengine.dist import utils as dist_utils
from mmengine.logging import print_log
from torch.distributed import PrefixStore, TCPStore
from torch.distributed.distributed_c10d import default_pg_timeout


@functools.cache  # a second call must not wrap what the first has wrapped
def rejoin_after_restart() -> bool:
    """Let the processes of a restarted job meet where nobody has been before.

    With several machines torchrun counts the restarts of each apart, so there is no
    common name for the new place; the way out is then a variable of torchrun's.

    Returns:
        bool: Whether this is a restarted process of a job on one machine.
    """
    attempt = int(os.environ.get('TORCHELASTIC_RESTART_COUNT', 0))
    shared = os.environ.get('TORCHELASTIC_USE_AGENT_STORE') == 'True'
    if not attempt or not shared:
        return False
    if os.environ.get('GROUP_WORLD_SIZE') != '1':
        print_log(
            f'Restart {attempt} of a job on several machines: if nothing happens from '
            'here on, start torchrun on all of them with '
            'TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1',
            logger='current',
        )
        return False
    dist_utils._init_dist_pytorch = _in_store_of(attempt, dist_utils._init_dist_pytorch)
    return True


def _in_store_of(attempt, init_dist):
    """The launcher's start in a part of torchrun's store that is this attempt's."""

    @functools.wraps(init_dist)
    def start(backend, init_backend='torch', **kwargs):
        if init_backend == 'torch':  # others take no store
            world_size = int(os.environ['WORLD_SIZE'])
            store = TCPStore(
                os.environ['MASTER_ADDR'],
                int(os.environ['MASTER_PORT']),
                world_size,
                is_master=False,
                timeout=kwargs.get('timeout', default_pg_timeout),
            )
            kwargs.update(
                store=PrefixStore(f'attempt_{attempt}', store),
                rank=int(os.environ['RANK']),
                world_size=world_size,
            )
        init_dist(backend, init_backend=init_backend, **kwargs)

    return start
