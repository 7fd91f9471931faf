"""The whole check: duplicates, wrappers, processes, samples, reports."""

import json
import random
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS
from PIL import Image
from rich.console import Console

from fastsegformer_mm.datasets.checks import (
    DatasetReport,
    Problem,
    check_dataset,
    reading,
)
from fastsegformer_mm.datasets.checks.console import (
    print_report,
    problem_lines,
    write_json,
)

tiny = runpy.run_path(str(Path(__file__).with_name('tiny_set.py')))
add, config, make, paths, photo, stripes, write_list = (
    tiny[k] for k in ('add', 'config', 'make', 'paths', 'photo', 'stripes',
                      'write_list'))


def brief(problems):
    return [(p.kind, p.severity, p.split, p.file, p.value) for p in problems]


def files(root, split, name, layout='neu'):
    return tuple(map(str, paths(root, split, name, layout)))


def reencoded(root, source, split, name, label=None):
    """The decoded pixels of an image, saved anew without loss, and under a label."""
    image = add(root, split, name, label=label)[0]
    Image.open(source).save(image, 'PNG')
    return image


@pytest.mark.parametrize(('other', 'severity'), [('test', 'error'),
                                                 ('val', 'warning')])
def test_training_images_in_another_split(tmp_path, other, severity):
    make(tmp_path)
    original = files(tmp_path, 'train', 'train1')[0]
    double = reencoded(tmp_path, original, other, 'copy')
    [problem] = check_dataset(config(tmp_path)).problems
    assert brief([problem]) == [(
        f'train-{other}-duplicate', severity, other, double,
        f'pixel for pixel the training image {original}')]
    assert 'learnt by heart' in problem.expected
    assert problem.way_out == (
        f'take {original} out of train, or the double out of {other}')
    report = check_dataset(config(tmp_path), ignore=[f'train-{other}-duplicate'])
    assert report.problems == []
    assert check_dataset(config(tmp_path), ['val', 'test']).problems == []


def test_one_name_in_two_split_files_is_seen_without_reading_it(tmp_path):
    make(tmp_path, 'voc', count=3)
    write_list(tmp_path, 'test', ['test0', 'test1', 'train1', 'test2'])
    report = check_dataset(config(tmp_path, 'voc'), sample=1)
    assert brief(report.problems) == [(
        'train-test-duplicate', 'error', 'test',
        files(tmp_path, 'train', 'train1', 'voc')[0],
        'the same file is in train and test')]
    assert report.splits['test'].checked == 1


def test_validation_and_test_may_be_one_set(tmp_path):
    make(tmp_path)
    cfg = config(tmp_path)
    cfg.test_dataloader = cfg.val_dataloader
    assert check_dataset(cfg).problems == []


def test_duplicates_within_a_split(tmp_path):
    make(tmp_path)
    original = files(tmp_path, 'train', 'train0')[0]
    same = reencoded(tmp_path, original, 'train', 'x')
    other = reencoded(tmp_path, original, 'train', 'y', stripes()[:, ::-1])
    assert brief(check_dataset(config(tmp_path), ['train']).problems) == [
        ('duplicate', 'warning', 'train', same, f'the same picture as {original}'),
        ('duplicate-other-label', 'warning', 'train', other,
         f'the same picture as {original}, with another label')]


def wrapped(cfg):
    inner = cfg.train_dataloader.dataset
    second = dict(inner, data_prefix=dict(
        img_path='images/val', seg_map_path='annotations/val'))
    cfg.train_dataloader.dataset = dict(
        type='RepeatDataset', times=3, dataset=dict(
            type='ConcatDataset', datasets=[inner, second]))
    return cfg


def test_wrappers_are_taken_off(tmp_path):
    make(tmp_path)
    cfg = wrapped(config(tmp_path))
    report = check_dataset(cfg, ['train'])
    assert report.problems == []
    assert report.splits['train'].images == 4
    shutil.rmtree(tmp_path / 'annotations/val')
    [problem] = check_dataset(cfg, ['train']).problems
    assert (problem.kind, problem.file) == (
        'folder-missing', str(tmp_path / 'annotations/val'))
    assert 'train_dataloader.dataset.dataset.datasets[1].data_root' in problem.way_out


@DATASETS.register_module(force=True)
class ListsItself(BaseSegDataset):
    METAINFO = dict(classes=('background', 'inclusion', 'patch', 'scratch'),
                    palette=[[k, k, k] for k in range(4)])

    def load_data_list(self):
        names = ('train0', 'gone', 'train1')
        return [dict(img_path=f'{self.data_root}/images/train/{name}.jpg',
                     seg_map_path=f'{self.data_root}/annotations/train/{name}.png')
                for name in names]


@pytest.mark.parametrize('before', ['mmengine', 'mmrazor'])
def test_the_scope_of_another_config_does_not_matter(tmp_path, before):
    make(tmp_path)
    with DefaultScope.overwrite_default_scope(before):
        report = check_dataset(config(tmp_path))
        assert DefaultScope.get_current_instance().scope_name == before
    assert report.ok
    assert [p for p in report.problems if p.kind == 'not-understood'] == []
    assert report.splits['train'].checked == report.splits['train'].pairs > 0


def test_a_data_set_with_a_list_of_its_own(tmp_path):
    make(tmp_path)
    label = files(tmp_path, 'train', 'train1')[1]
    Image.fromarray(stripes() * 2).save(label)
    report = check_dataset(config(tmp_path, type='ListsItself'), ['train'])
    assert brief(report.problems) == [
        ('image-missing', 'error', 'train', files(tmp_path, 'train', 'gone')[0],
         'no such file'),
        ('label-out-of-range', 'error', 'train', label,
         'values 4 (25.0 %), 6 (25.0 %) of the pixels')]
    assert report.splits['train'].pairs == 2


@DATASETS.register_module(force=True)
class Outlandish:
    def __init__(self, **kwargs):
        pass


@pytest.mark.parametrize('kind', ['Outlandish', 'NoSuchDataset'])
def test_a_data_set_that_is_not_understood_is_a_warning(tmp_path, kind):
    [problem] = check_dataset(config(tmp_path, type=kind), ['train']).problems
    assert (problem.kind, problem.severity, problem.file) == (
        'not-understood', 'warning', 'train_dataloader.dataset')
    assert kind in problem.value


def test_a_loader_with_wrong_options_is_a_warning(tmp_path):
    make(tmp_path)
    cfg = config(tmp_path)
    cfg.train_dataloader.dataset.pipeline[0].colour = 'red'
    [problem] = check_dataset(cfg, ['train']).problems
    assert (problem.kind, problem.severity) == ('not-understood', 'warning')
    assert 'colour' in problem.value


def test_random_states_stay_as_they_are(tmp_path):
    """Otherwise a run with the check would not repeat one without."""
    cfg = faulty(tmp_path)

    def states():
        # the global generator, from which transforms draw
        legacy = np.random.mtrand._rand.get_state()
        return (random.getstate(), torch.get_rng_state().tolist(),
                legacy[1].tolist(), legacy[2:])

    before = states()
    check_dataset(cfg)
    assert states() == before


def faulty(root):
    """Twelve pairs, some with faults."""
    make(root, count=4)
    Image.fromarray(stripes() + 3).save(files(root, 'train', 'train1')[1])
    Path(files(root, 'train', 'train3')[0]).write_bytes(b'')
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(files(root, 'val', 'val2')[1])
    reencoded(root, files(root, 'train', 'train0')[0], 'test', 'copy')
    return config(root)


def summaries(report):
    return {name: {k: v.tolist() if isinstance(v, np.ndarray) else v
                   for k, v in vars(split).items()}
            for name, split in report.splits.items()}


def test_processes_find_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, 'PAIRS_A_PROCESS', 5)
    cfg = faulty(tmp_path)
    alone = check_dataset(cfg)
    assert [p.kind for p in alone.problems] == [
        'label-out-of-range', 'empty-file', 'size-differs', 'train-test-duplicate']
    seen = []
    shared = check_dataset(
        cfg, processes=2,
        track=lambda facts, total: (seen.append(fact) or fact for fact in facts))
    assert shared.problems == alone.problems
    assert summaries(shared) == summaries(alone)
    assert len(seen) == sum(s.checked for s in alone.splits.values()) == 13


def test_a_sample_is_evenly_spread_and_the_same_every_time(tmp_path):
    make(tmp_path, count=9, splits=['train'])
    cfg = config(tmp_path)
    seen = []
    for _ in range(2):
        report = check_dataset(cfg, ['train'], sample=3, track=lambda facts, total: (
            seen.append(Path(fact.image).stem) or fact for fact in facts))
        assert report.splits['train'].checked == 3
        assert report.splits['train'].pairs == 9
    assert seen == 2 * ['train0', 'train4', 'train8']


def test_what_cannot_be_asked_for(tmp_path):
    cfg = config(tmp_path, splits=['train'])
    with pytest.raises(ValueError, match='has no test_dataloader, expected one of tra'):
        check_dataset(cfg, ['test'])
    with pytest.raises(ValueError, match='sample is 0, expected 1 or more'):
        check_dataset(cfg, sample=0)
    with pytest.raises(ValueError, match='processes is -1'):
        check_dataset(cfg, processes=-1)
    with pytest.raises(ValueError, match="severity is 'fatal', expected one of error"):
        Problem('a', 'fatal', '', '', '', '', '')


def test_console_and_json(tmp_path):
    report = check_dataset(faulty(tmp_path))
    report.config = 'my.py'
    report.problems += [Problem('size-differs', 'error', 'val', f'{k}.png', '1x1',
                                '2x2', 'export') for k in range(4)]
    lines = problem_lines(report, report.errors, show=2)
    assert [line for line in lines if 'size-differs' in line][1:] == [
        'val: size-differs: 0.png: 1x1, expected 2x2; export',
        'size-differs: ... and 3 more']
    console = Console(record=True, width=100)
    print_report(report, 2, console)
    text = console.export_text()
    assert 'error: val: size-differs: 0.png: 1x1, expected 2x2; export\n' in text
    assert 'all 13 pairs' in text
    assert '8 error(s), 0 warning(s)' in text
    assert [cell.strip() for cell in next(
        line for line in text.splitlines() if 'inclusion' in line
    ).strip('│').split('│')] == ['inclusion', '23.08 % in 3', '24.15 % in 3',
                                 '25.00 % in 5']
    content = json.loads(write_json(report, tmp_path / 'out/r.json').read_text())
    assert content['ok'] is False
    assert len(content['problems']) == 8
    assert content['problems'][0]['kind'] == 'label-out-of-range'
    assert content['splits']['test']['class_pixels'] == [5 * 24 * 8] * 4
    assert DatasetReport('x').ok
