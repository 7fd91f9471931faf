"""Two gloo processes distil one batch; run by test_data_parallel.py.

The first argument is an empty folder: each process writes RANK.json into it, with the
largest difference between its gradients and the mean of both shards' gradients.
"""

import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import init_default_scope
from torch import distributed, multiprocessing

from robust_training.cpu_launchers import leave_process_group

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / 'tiny.py')))


def build():
    torch.manual_seed(0)
    model = tiny.build(architecture=tiny.student(norm='GN'))
    model.init_weights()
    return model


def gradients(model, wrapped, shard, step):
    """Of the loss on one half of the images, added to what is there."""
    images = {k: v[2 * shard:][:2] for k, v in tiny.batch(4, seed=step).items()}
    found = wrapped(**model.data_preprocessor(images, True), mode='loss')
    loss, _ = model.parse_losses(found)
    loss.backward()
    return {n: p.grad for n, p in model.named_parameters()}


def work(rank, folder):
    init_default_scope('mmseg')
    torch.set_num_threads(1)
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    model, reference = build(), build()
    wrapped = MMDistributedDataParallel(module=model, find_unused_parameters=False)
    report = []
    # the second step of each kind waits for the gradients of the first
    for step, stopped in enumerate((False, False, True, True)):
        for m in (model, reference):
            m.distillation_stopped = stopped
            m.zero_grad(set_to_none=True)
        own = gradients(model, wrapped, rank, step)
        for shard in (0, 1):
            both = gradients(reference, reference, shard, step)
        differences = {n: float((own[n] - both[n] / 2).abs().max()) for n in own}
        report.append(dict(
            stopped=stopped, difference=max(differences.values()),
            names=sorted(own),
            largest=max(float(g.abs().max()) for g in own.values()),
            connectors=sum(
                float(g.abs().sum()) for n, g in own.items() if 'connectors' in n)))
    Path(folder, f'{rank}.json').write_text(json.dumps(report))
    leave_process_group()


if __name__ == '__main__':
    # one import for both: nothing has run yet that a fork could break
    multiprocessing.start_processes(
        work, args=(sys.argv[1],), nprocs=2, start_method='fork')
