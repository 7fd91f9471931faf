"""Trainings on labelled and unlabelled images, killed and resumed."""

import runpy
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


def config(data, work_dir, by_epoch=False, mix='ClassMix', batch_size=3, **kwargs):
    """Nine iterations: three passes of the labelled images, 18 unlabelled ones."""
    student = tiny.student(drop=0.3)
    student['decode_head']['loss_decode']['avg_non_ignore'] = True
    model = tiny.model_cfg(
        architecture=student, batch_augment=dict(type=mix, prob=0.8, across=True))
    cfg = runs.config(data, work_dir, by_epoch, model=model, **kwargs)
    loader = cfg.train_dataloader
    images = loader.dataset.to_dict()
    loader.dataset = dict(
        type='PartlyLabelledDataset', labelled=dict(images, indices=3),
        unlabelled=dict(type='UnlabelledDataset', dataset=dict(images, indices=[3, 5])))
    loader.batch_size = batch_size
    loader.sampler = dict(
        type='PartlyLabelledSampler', batch_size=batch_size, labelled=1,
        endless=not by_epoch)
    return cfg


class Images(runs.Hook):
    """Which images each iteration gets, and the first pixels of each."""

    def __init__(self):
        self.seen, self.pixels = [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.seen.append(
            [int(Path(s.img_path).stem) for s in data_batch['data_samples']])
        self.pixels += [float(x.float().mean()) for x in data_batch['inputs']]


@pytest.mark.parametrize(('by_epoch', 'mix'), [(False, 'ClassMix'), (True, 'CutMix')])
def test_after_a_kill(data, tmp_path, by_epoch, mix):
    def make(name):
        return config(data, tmp_path / name, by_epoch, mix)

    straight = runs.train(make('straight'))
    for kill in (2, 3, 7):  # within an epoch, at its end, in the last
        found = runs.resumed(lambda name=f'killed{kill}': make(name), kill)
        assert tiny.same(found, straight), f'killed after iteration {kill}'


def test_loops_and_workers_make_no_difference_to_what_is_drawn(data, tmp_path):
    """Nor does a sampler that ends in a loop of iterations."""
    def images(name, **kwargs):
        cfg = config(data, tmp_path / name, **kwargs)
        if name == 'ends':
            cfg.train_dataloader.sampler.endless = False
        runner = runs.Runner.from_cfg(cfg)
        hook = Images()
        runner.register_hook(hook)
        runner.train()
        runs.end_workers(runner.train_loop)
        return hook.seen, hook.pixels

    seen, pixels = images('straight')
    assert all(sorted(batch[0] for batch in seen[k:k + 3]) == [0, 1, 2]
               for k in (0, 3, 6))
    assert all(sorted(batch[1:]) == [3, 5] for batch in seen)
    # augmented otherwise in each pass, each kind counting its own
    assert len(set(pixels)) == 27
    assert images('epochs', by_epoch=True) == (seen, pixels)
    assert images('ends') == (seen, pixels)
    assert images('workers', workers=2) == (seen, pixels)


def test_another_share_of_labelled_images_is_told(data, tmp_path):
    cfg = config(data, tmp_path)
    assert runs.train(cfg, kill=5) is None
    content = torch.load(tmp_path / 'iter_5.pth', weights_only=False)
    assert content['exact_resume'] == dict(done=5, data=dict(
        seed=0, samples=5, batch_size=3, processes=1, labelled=3, of_a_batch=1))
    cfg.resume = True
    cfg.train_dataloader.sampler.labelled = 2
    runner = runs.Runner.from_cfg(cfg)
    with tiny.messages(runner.logger) as said:
        runner.train()
    [told] = [m for m in said if 'not exactly' in m]
    assert "'of_a_batch': 2" in told


def test_the_log_tells_the_numbers_once(data, tmp_path):
    cfg = config(data, tmp_path, length=1)
    cfg.default_hooks.check_dataset = dict(type='CheckDatasetHook')
    runner = runs.Runner.from_cfg(cfg)
    with tiny.messages(runner.logger) as said:
        runner.train()
    assert said.count(
        'Data: 3 labelled and 2 unlabelled images; 1 of 3 in a batch are labelled') == 1
    [line] = [m for m in said if m.startswith('CheckDatasetHook: 0 error')]
    assert '0 warning(s); pairs looked into: train 5 of 5 (2 without labels); ' in line


def test_a_loss_that_is_not_silent_stops_the_training(data, tmp_path):
    cfg = config(data, tmp_path, length=1)
    cfg.default_hooks.check_dataset = dict(type='CheckDatasetHook')
    cfg.model.architecture.decode_head.loss_decode.avg_non_ignore = False
    runner = runs.Runner.from_cfg(cfg)
    with pytest.raises(ValueError, match=r'set model\.architecture\.decode_head\.'
                       r'loss_decode\.avg_non_ignore=True'):
        runner.train()
    assert runner.iter == 0
