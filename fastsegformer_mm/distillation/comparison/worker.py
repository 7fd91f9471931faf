"""One run, in a process of its own: train, then test.

    python -m fastsegformer_mm.distillation.comparison.worker DIR/runs/METHOD/seed-K

takes what :meth:`Run.prepare` has left there, and goes on from the newest checkpoint.
"""

import os
import sys
import threading
import time
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from fastsegformer_mm.distillation import benchmark

from .results import CONFIG, JOB, RESULT, best_checkpoint, read_json, write_json
from .step_cost_hook import StepCostHook
from .validation_hook import read_scores


def run(folder) -> dict:
    """Train if there is something to train, test the best weights, write the result.

    Args:
        folder (Path): Of a :class:`Run` that was prepared.

    Returns:
        dict: What is in ``result.json``: the job, the metrics on the test split, the
        machine; of a training the iterations of its schedule and those it made, the
        scores of its validations, the name of the checkpoint that was tested, the
        batch size, the numbers and the size of its images, the median seconds of a
        step and how many were timed, the peak of memory in bytes.
    """
    folder = Path(folder)
    job = read_json(folder / JOB)
    torch.set_num_threads(job['threads'])
    began = time.perf_counter()
    # without a file name: the runner writes the config down under its own
    cfg = Config(Config.fromfile(folder / CONFIG).to_dict())
    cfg.work_dir = str(folder)
    trains = cfg.get('train_cfg') is not None
    cfg.resume = trains
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    result = dict(job)
    if trains:
        runner.train()
        cost = next(h for h in runner.hooks if isinstance(h, StepCostHook))
        best = best_checkpoint(folder)
        result.update(
            max_iters=runner.max_iters,
            iterations=runner.iter,
            validation=read_scores(folder),
            tested=Path(best).name,
            batch_size=runner.train_dataloader.batch_sampler.batch_size,
            images=images_of(runner),
            step_seconds=cost.median,
            steps_timed=len(cost.seconds),
            peak_bytes=cost.peak_bytes,
        )
        # the weights are there, and not to be read from the newest checkpoint
        runner._resume = False
        runner.load_checkpoint(best, strict=True)
    metrics = runner.test()
    device = next(runner.model.parameters()).device.type
    result.update(
        metrics={k: float(v) for k, v in metrics.items()},
        machine=benchmark.machine(device, job['threads']),
        wall_seconds=time.perf_counter() - began,
    )
    write_json(folder / RESULT, result)
    return result


def images_of(runner: Runner) -> dict:
    """How many images with and without labels, and how large one of them is."""
    data = runner.train_dataloader.dataset
    labelled, unlabelled = getattr(data, 'sizes', (len(data), 0))
    height, width = data[0]['inputs'].shape[-2:]
    return dict(
        labelled=labelled,
        unlabelled=unlabelled,
        size=[height, width],
        student_size=runner.cfg.model.get('student_size'),
        test=len(runner.test_dataloader.dataset),
    )


def end_with(pipe: int) -> None:
    """End this process when the other end of the pipe is closed.

    Whoever started it holds that end, so that a comparison that is killed leaves no
    training behind, which the next one would start a second time.

    Args:
        pipe (int): File descriptor. It is read without Python's file object, whose
            lock would be held for ever in processes that are forked to load data.
    """

    def wait():
        os.read(pipe, 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == '__main__':
    end_with(sys.stdin.fileno())
    run(sys.argv[1])
