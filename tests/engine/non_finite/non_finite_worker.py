"""Two gloo processes train, one of them with a NaN; run by test_non_finite_processes.

The first argument is an empty folder: each process writes RANK.json into it.
"""

import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from torch import distributed, multiprocessing

from fastsegformer_mm.engine.non_finite.diagnosis import NonFiniteLossError
from robust_training.cpu_launchers import leave_process_group

tiny = SimpleNamespace(
    **runpy.run_path(str(Path(__file__).with_name('tiny_training.py'))))
Config.pretty_text = property(lambda self: '# not formatted')
# the numbers of both processes; of rank 1 some are negative
RUNS = {
    'skip': (1, dict(action='skip'), ([1, 2, 3, 4], [11, -12, 13, 14])),
    'never': (1, None, ([1, 3, 4], [11, 13, 14])),
    # the batch that ends an accumulation, when the gradients would be averaged
    'skip 2': (2, dict(action='skip'), ([1, 2, 3, 4, 5], [11, -12, 13, 14, 15])),
    'never 2': (2, None, ([1, 3, 4, 5], [11, 13, 14, 15])),
    'stop': (1, {}, ([1, 2, 3], [11, -12, 13])),
    'broken': (1, dict(action='skip'), ([1, 2, 3], [11, 12, 13])),
}


def work(rank, folder):
    tiny.set_up()
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    report, states = {}, {}
    for name, (accumulate, hook, numbers) in RUNS.items():

        def before(runner, name=name):
            if name == 'broken' and rank == 1 and runner.iter == 1:
                runner.model.module.head.bias.data[0] = tiny.NAN

        runner = tiny.run(
            Path(folder, name), numbers[rank], hook, train=False, before=before,
            optim_wrapper=dict(accumulative_counts=accumulate))
        runner.model = MMDistributedDataParallel(module=runner.model)
        # each rank its own dropout, as a training has
        torch.manual_seed(rank)
        error = None
        try:
            runner.train()
        except NonFiniteLossError as raised:
            error = str(raised)
        states[name] = tiny.state(runner)
        report[name] = dict(iter=runner.iter, error=error)
    for name in ('skip', 'skip 2'):
        other = name.replace('skip', 'never')
        report[name]['same'] = tiny.same(states[name], states[other])
    weights = {
        name: torch.cat([v.flatten() for k, v in state.items() if 'weight' in k])
        for name, state in states.items()
    }
    report['sums'] = {k: float(w.double().sum()) for k, w in weights.items()}
    Path(folder, f'{rank}.json').write_text(json.dumps(report))
    leave_process_group()


if __name__ == '__main__':
    # one import for both: nothing has run yet that a fork could break
    multiprocessing.start_processes(
        work, args=(sys.argv[1],), nprocs=2, start_method='fork')
