"""Two gloo processes balance one batch; run by test_gradient_balance_processes.py.

The first argument is an empty folder: each process writes RANK.json into it.
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

from fastsegformer_mm.distillation.gradients import find_layers
from fastsegformer_mm.distillation.hooks import GradientBalanceHook

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / 'tiny.py')))


def runner(model):
    nothing = SimpleNamespace(
        info=lambda text: None, add_scalars=lambda *args, **kwargs: None)
    return SimpleNamespace(
        iter=0, model=model, optim_wrapper=None, logger=nothing, visualizer=nothing)


def work(rank, folder):
    init_default_scope('mmseg')
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = tiny.build(
        architecture=tiny.student(norm='GN'),
        distiller=tiny.one_pair(
            'backbone.stem', 'backbone.stem', dict(
                in_channel=4, out_channel=6, act_cfg=None)))
    model.init_weights()
    whole = tiny.batch(4)
    shards = [{k: v[2 * i:][:2] for k, v in whole.items()} for i in (0, 1)]
    # of one process: the mean of both halves' gradients
    vectors = []
    for shard in shards:
        losses = model(**model.data_preprocessor(shard, True), mode='loss')
        (layer,) = find_layers(model, losses).values()
        for name in ('student.decode.loss_ce', 'distill.loss_map'):
            vectors.append(torch.autograd.grad(
                losses[name], layer, retain_graph=True)[0])
    task, term = ((vectors[i] + vectors[i + 2]).norm() / 2 for i in (0, 1))

    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    wrapped = MMDistributedDataParallel(module=model, find_unused_parameters=False)
    hook, training = GradientBalanceHook(share={'*': 0.5}), runner(wrapped)
    hook.before_train(training)
    report = []
    for _ in range(2):  # with a measurement and without
        hook.before_train_iter(training, 0)
        model.zero_grad()
        found = wrapped(**model.data_preprocessor(shards[rank], True), mode='loss')
        loss, _ = model.parse_losses(found)
        loss.backward()
        hook.after_train_iter(training, 0)
        training.iter += 1
        report.append(dict(
            factors=model.loss_factors,
            gradient=float(sum(p.grad.double().abs().sum() for p in model.parameters())
                           )))
    Path(folder, f'{rank}.json').write_text(json.dumps(dict(
        steps=report, expected=float(0.5 * task / term))))
    distributed.destroy_process_group()


if __name__ == '__main__':
    # one import for both: nothing has run yet that a fork could break
    multiprocessing.start_processes(
        work, args=(sys.argv[1],), nprocs=2, start_method='fork')
