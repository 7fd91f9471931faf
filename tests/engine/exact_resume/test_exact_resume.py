"""Killed and resumed is, to the bit, never interrupted."""

import runpy
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

runs = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / 'runs.py')))
tiny = runs.tiny
set_up = tiny.set_up


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return tiny.write_data(tmp_path_factory.mktemp('data'), train=runs.IMAGES, val=1)


@pytest.mark.parametrize('distilled', [False, True])
@pytest.mark.parametrize('by_epoch', [False, True])
def test_after_a_kill_at_any_iteration(data, tmp_path, by_epoch, distilled):
    def make(name):
        return runs.config(data, tmp_path / name, by_epoch, distilled)

    straight = runs.train(make('straight'))
    for kill in range(1, 9):
        found = runs.resumed(lambda name=f'killed{kill}': make(name), kill)
        assert tiny.same(found, straight), f'killed after iteration {kill}'


@pytest.mark.parametrize('by_epoch', [False, True])
def test_with_workers_that_outlive_the_epoch(data, tmp_path, by_epoch):
    """And the number of workers makes no difference to what is loaded."""

    def make(name, workers=2):
        return runs.config(data, tmp_path / name, by_epoch, workers=workers)

    straight = runs.train(make('straight'))
    assert tiny.same(runs.resumed(lambda: make('killed'), 5), straight)
    assert tiny.same(runs.train(make('one', workers=0)), straight)


def test_without_the_hook_the_weights_differ(data, tmp_path):
    """What the hook is for."""

    def make(name):
        return runs.config(data, tmp_path / name, by_epoch=False, exact=False)

    straight = runs.train(make('straight'))
    found = runs.resumed(lambda: make('killed'), 5)
    assert not tiny.same(found, straight)


class Images(runs.Hook):
    """Which images each iteration gets."""

    def __init__(self):
        self.seen = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.seen.append([Path(s.img_path).stem for s in data_batch['data_samples']])


def test_finite_sampler_in_a_loop_of_iterations(data, tmp_path):
    """The third pass over the data, whose order is that of the third epoch."""

    def images(name, by_epoch, resume=False):
        cfg = runs.config(
            data, tmp_path / name, by_epoch, distilled=False, sampler='DefaultSampler')
        cfg.resume = resume
        runner = runs.Runner.from_cfg(cfg)
        hook = Images()
        runner.register_hook(hook)
        runner.train()
        return hook.seen, runs.state(runner)

    epochs, _ = images('epochs', by_epoch=True)
    assert len({str(sorted(chain(*epochs[i:i + 3]))) for i in (0, 3, 6)}) == 1
    assert len({str(epochs[i:i + 3]) for i in (0, 3, 6)}) == 3
    iterations, straight = images('straight', by_epoch=False)
    assert iterations == epochs
    cfg = runs.config(
        data, tmp_path / 'killed', by_epoch=False, distilled=False,
        sampler='DefaultSampler')
    runs.train(cfg, kill=7)
    rest, found = images('killed', by_epoch=False, resume=True)
    assert rest == epochs[7:]
    assert tiny.same(found, straight)


def test_two_interruptions(data, tmp_path):
    def make(name):
        return runs.config(data, tmp_path / name, by_epoch=True)

    assert runs.train(make('killed'), kill=2) is None
    again = make('killed')
    again.resume = True
    assert runs.train(again, kill=7) is None
    found = runs.train(again)
    assert tiny.same(found, runs.train(make('straight')))


def test_averaged_weights_and_scaled_rates(data, tmp_path):
    def make(name):
        return runs.config(
            data, tmp_path / name, by_epoch=False,
            custom_hooks=[dict(type='EMAHook', momentum=0.1)])

    def last(name):
        return torch.load(
            tmp_path / name / 'iter_9.pth', weights_only=False)['state_dict']

    runs.train(make('straight'))
    runs.resumed(lambda: make('killed'), 4)
    assert tiny.same(last('killed'), last('straight'))


@pytest.mark.parametrize('kill', [4, 5])
def test_between_two_steps_of_the_optimizer(data, tmp_path, kill):
    """Three batches a step: the gradients of one or two wait in the checkpoint."""

    def make(name):
        return runs.config(
            data, tmp_path / name, by_epoch=False,
            optim_wrapper=dict(
                optimizer=dict(type='Adam', lr=0.01), accumulative_counts=3))

    straight = runs.train(make('straight'))
    assert tiny.same(runs.resumed(lambda: make('killed'), kill), straight)


def test_seed_that_the_first_run_drew(data, tmp_path):
    """Nobody gave a seed; the second run goes on with the first one's."""

    def make(name, seed=None):
        return runs.config(
            data, tmp_path / name, by_epoch=False, distilled=False,
            randomness=dict(seed=seed))

    cfg = make('killed')
    assert runs.train(cfg, kill=5) is None
    content = torch.load(tmp_path / 'killed' / 'iter_5.pth', weights_only=False)
    cfg.resume = True
    found = runs.train(cfg)
    assert tiny.same(found, runs.train(make('straight', content['meta']['seed'])))


def test_seed_of_the_sampler_in_the_config_stays(data, tmp_path):
    def order(seed, sampler_seed):
        cfg = runs.config(
            data, tmp_path / f'{seed}-{sampler_seed}', by_epoch=False,
            randomness=dict(seed=seed), length=1)
        cfg.train_dataloader.sampler.seed = sampler_seed
        runner = runs.Runner.from_cfg(cfg)
        runner.train()
        drawn = iter(runner.train_dataloader.batch_sampler)
        return [next(drawn) for _ in range(3)]

    assert order(0, 7) == order(1, 7)
    assert order(0, 7) != order(0, 8)


def test_other_seeds_give_other_weights(data, tmp_path):
    def make(name, seed):
        return runs.config(
            data, tmp_path / name, by_epoch=True, randomness=dict(seed=seed))

    one = runs.train(make('one', 0))
    assert tiny.same(one, runs.train(make('again', 0)))
    assert not tiny.same(one, runs.train(make('other', 1)))


def test_another_batch_size_is_told(data, tmp_path):
    cfg = runs.config(data, tmp_path, by_epoch=False)
    assert runs.train(cfg, kill=5) is None
    cfg.resume = True
    cfg.train_dataloader.batch_size = 3
    runner = runs.Runner.from_cfg(cfg)
    with tiny.messages(runner.logger) as said:
        runner.train()
    told = [m for m in said if 'not exactly' in m]
    assert len(told) == 1
    assert "'batch_size': 2" in told[0]
    assert "'batch_size': 3" in told[0]
    assert runner.iter == 9


def test_weights_to_begin_with_do_not_move_the_start(data, tmp_path):
    """``load_from`` without ``resume`` takes the weights alone."""
    runs.train(runs.config(data, tmp_path / 'first', by_epoch=False), kill=5)
    cfg = runs.config(data, tmp_path / 'second', by_epoch=False, length=1)
    cfg.load_from = str(tmp_path / 'first' / 'iter_5.pth')
    runner = runs.Runner.from_cfg(cfg)
    with tiny.messages(runner.logger) as said:
        runner.train()
    assert not [m for m in said if 'not exactly' in m or 'goes on' in m]
    content = torch.load(tmp_path / 'second' / 'iter_1.pth', weights_only=False)
    assert content['exact_resume'] == dict(
        data=dict(seed=0, samples=6, batch_size=2, processes=1), done=1)


@pytest.mark.parametrize('by_epoch', [False, True])
def test_unlabelled_images_and_mixing(data, tmp_path, by_epoch):
    """Both kinds of images go on where each of them was."""

    def make(name, workers=0):
        model = tiny.model_cfg(batch_augment=dict(type='CutMix', prob=0.5))
        cfg = runs.config(
            data,
            tmp_path / name,
            by_epoch,
            workers=workers,
            model=model,
            length=2 if by_epoch else 9,
        )
        loader = cfg.train_dataloader
        labelled = {**loader.dataset.to_dict(), 'indices': 4}
        unlabelled = {**loader.dataset.to_dict(), 'indices': [4, 5]}
        loader.batch_size = 3
        loader.dataset = dict(
            type='PartlyLabelledDataset',
            labelled=labelled,
            unlabelled=unlabelled,
        )
        loader.batch_sampler = dict(type='PartlyLabelledBatchSampler', labelled=1)
        return cfg

    straight = runs.train(make('straight'))
    for kill in (1, 3, 5):
        found = runs.resumed(lambda name=f'killed{kill}': make(name), kill)
        assert tiny.same(found, straight), f'killed after iteration {kill}'
    assert tiny.same(runs.train(make('worker', workers=1)), straight)
