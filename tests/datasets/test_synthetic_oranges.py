import json
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fastsegformer_mm.datasets.synthetic import (
    CLASSES,
    generator,
    make_sample,
    plan_set,
    split_sizes,
    write_set,
)
from fastsegformer_mm.datasets.synthetic.defects import add_defects
from fastsegformer_mm.datasets.synthetic.orange import make_peel
from fastsegformer_mm.datasets.synthetic.scene import fruit_outline

TOOL = (Path(__file__).parents[2] / 'tools' / 'dataset_converters'
        / 'make_synthetic_oranges.py')


@pytest.fixture(scope='module')
def oranges(tmp_path_factory):
    folder = tmp_path_factory.mktemp('synthetic') / 'set'
    return folder, write_set(folder, num=12, size=192, seed=7, workers=1)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob('*')) if path.is_file()}


def labels_of(folder):
    return {path.stem: np.array(Image.open(path))
            for path in sorted((folder / 'SegmentationClass').iterdir())}


def test_layout_of_a_set(oranges):
    folder, record = oranges
    images = sorted((folder / 'JPEGImages').iterdir())
    assert [p.name for p in images] == [f'img{k:04d}.jpg' for k in range(1, 13)]
    for path in images:
        image = Image.open(path)
        mask = Image.open(folder / 'SegmentationClass' / f'{path.stem}.png')
        assert (image.mode, image.size) == ('RGB', (192, 192))
        assert (mask.mode, mask.size) == ('P', (192, 192))
        # Pascal VOC's colours, as the labelled photographs have them
        assert mask.getpalette()[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
    lists = {
        name: (folder / 'ImageSets/Segmentation' / f'{name}.txt').read_text().split()
        for name in ('train', 'val', 'test', 'trainval')}
    assert [len(lists[n]) for n in ('train', 'val', 'test')] == [7, 3, 2]
    everything = lists['train'] + lists['val'] + lists['test']
    assert sorted(everything) == [p.stem for p in images]
    assert lists['trainval'] == sorted(lists['train'] + lists['val'])
    assert json.loads((folder / 'synthetic_oranges.json').read_text()) == record
    assert record['arguments'] == {
        'num': 12, 'size': 192, 'seed': 7, 'ratios': [6.0, 2.0, 2.0]}
    assert record['classes'] == list(CLASSES)


def test_labels_hold_the_planned_classes_in_realistic_shares(oranges):
    folder, record = oranges
    labels = labels_of(folder)
    for label, (_, classes) in zip(labels.values(), plan_set(12, (6, 2, 2), 7)):
        assert set(np.unique(label)) == {0, *classes}
    counts = np.sum([np.bincount(x.ravel(), minlength=4) for x in labels.values()], 0)
    shares = 100 * counts / counts.sum()
    assert list(record['percent_of_pixels'].values()) == [
        round(share, 3) for share in shares]
    # the labelled photographs: 98 % background, 0.4 to 1.6 % ulcer, 0.8 % wind
    # scarring, 2.5 % sunburn on the fruits that have it
    assert 94 < shares[0] < 99
    assert 0.4 < shares[1] < 4
    assert 0.2 < shares[2] < 2
    assert 0.3 < shares[3] < 3


def test_bytes_depend_on_the_seed_and_not_on_the_workers(oranges, tmp_path):
    for name, seed, workers in (('one', 0, 1), ('two', 0, 2), ('other', 1, 1)):
        write_set(tmp_path / name, num=4, size=96, seed=seed, workers=workers)
    one, two, other = (contents(tmp_path / n) for n in ('one', 'two', 'other'))
    assert len(one) == 4 + 4 + 4 + 1
    assert one == two
    assert one.keys() == other.keys()
    assert one['JPEGImages/img0001.jpg'] != other['JPEGImages/img0001.jpg']


@pytest.mark.parametrize('index', range(4))
@pytest.mark.parametrize('defect', [1, 2, 3])
def test_the_label_is_where_the_photograph_changes(defect, index):
    clean, empty = make_sample(3, index, size=256, classes=())
    image, label = make_sample(3, index, size=256, classes=[defect])
    assert not empty.any()
    assert set(np.unique(label)) == {0, defect}
    outline = fruit_outline(np.random.default_rng([3, index, 0]), 256)
    assert (outline['rho'][label > 0] <= 1).all()

    change = np.abs(image.astype(int) - clean).max(axis=2)
    # the label's margin is about one pixel here: without it all has changed
    core = cv2.erode((label > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert (change[core] > 10).mean() > 0.85
    # a halo is the only trace beside the defect
    beside = cv2.dilate((label > 0).astype(np.uint8), np.ones((81, 81), np.uint8)) == 0
    assert change[beside].max() <= 2
    assert change[outline['rho'] > 1.05].max() <= 2


def test_defects_are_foreshortened_towards_the_limb():
    rng = np.random.default_rng(0)
    outline = fruit_outline(rng, 256)
    peel = make_peel(rng, outline['radius'])
    # the map spans half a turn, a quarter more than the fruit's width
    assert peel.size == pytest.approx(np.pi * peel.radius, abs=4)
    add_defects(rng, peel, [1, 2, 3])
    assert set(np.unique(peel.label)) == {0, 1, 2, 3}
    ys, xs = np.nonzero(peel.label)
    assert np.hypot(xs - peel.size / 2, ys - peel.size / 2).max() < 0.5 * peel.size


@pytest.mark.parametrize('seed', range(10))
def test_every_class_occurs_in_every_split(seed):
    plan = plan_set(20, (6, 2, 2), seed)
    assert [sum(s == split for s, _ in plan)
            for split in ('train', 'val', 'test')] == [12, 4, 4]
    for split in ('train', 'val', 'test'):
        classes = {c for s, cs in plan if s == split for c in cs}
        assert classes == {1, 2, 3}


def test_some_fruits_are_sound_and_few_have_everything():
    plan = [classes for _, classes in plan_set(1000, (6, 2, 2), 0)]
    assert 60 < sum(not classes for classes in plan) < 140
    for index in (1, 2, 3):
        assert 350 < sum(index in classes for classes in plan) < 600
    assert sum(len(classes) == 3 for classes in plan) < 150


def test_split_sizes_follow_the_ratios():
    assert split_sizes(100, (6, 2, 2)) == [60, 20, 20]
    assert split_sizes(10, (1, 0, 1)) == [5, 0, 5]
    assert split_sizes(7, (6, 2, 2)) == [4, 2, 1]
    for ratios in ((1, 1), (0, 0, 0), (1, -1, 1)):
        with pytest.raises(ValueError, match='three numbers of 0 or more'):
            split_sizes(10, ratios)


def test_wrong_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match='unknown defect class 4'):
        make_sample(0, size=64, classes=[4])
    with pytest.raises(ValueError, match='size is 32 pixels'):
        make_sample(0, size=32)
    for wrong in ({'num': 0}, {'seed': -1}, {'size': 10}, {'workers': 0}):
        with pytest.raises(ValueError, match=f'{next(iter(wrong))} is'):
            write_set(tmp_path / 'set', **wrong)
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_not_overwritten(tmp_path):
    foreign = tmp_path / 'foreign'
    foreign.mkdir()
    (foreign / 'thesis.txt').write_text('years of work')
    for force in (False, True):
        with pytest.raises(FileExistsError, match='left alone'):
            write_set(foreign, num=1, size=64, force=force)
    assert contents(foreign) == {'thesis.txt': b'years of work'}

    ours = tmp_path / 'ours'
    ours.mkdir()  # an empty folder is fine
    write_set(ours, num=1, size=64, seed=1, workers=1)
    before = contents(ours)
    with pytest.raises(FileExistsError, match='--force'):
        write_set(ours, num=1, size=64, seed=2, workers=1)
    assert contents(ours) == before
    write_set(ours, num=1, size=64, seed=2, workers=1, force=True)
    assert contents(ours) != before
    assert sorted(p.name for p in tmp_path.iterdir()) == ['foreign', 'ours']


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(seed, index, size, classes):
        if index == 2:
            raise KeyboardInterrupt
        return make_sample(seed, index, size, classes)

    write_set(tmp_path / 'old', num=1, size=64, workers=1)
    before = contents(tmp_path)
    monkeypatch.setattr(generator, 'make_sample', interrupt)
    for name in ('new', 'old'):
        with pytest.raises(KeyboardInterrupt):
            write_set(tmp_path / name, num=4, size=64, workers=1, force=True)
    assert contents(tmp_path) == before
    assert [p.name for p in tmp_path.iterdir()] == ['old']


def test_command_line(tmp_path, monkeypatch, capsys):
    def run(*options):
        monkeypatch.setattr(sys, 'argv', [
            str(TOOL), str(tmp_path / 'set'), '--num', '5', '--size', '64',
            '--ratios', '3', '1', '1', '--workers', '1', *options])
        try:
            runpy.run_path(str(TOOL), run_name='__main__')
        except SystemExit as end:
            if end.code:
                raise

    run()
    printed = capsys.readouterr().out
    assert '3 train, 1 val, 1 test, 4 trainval' in printed
    assert len(list((tmp_path / 'set/JPEGImages').iterdir())) == 5
    with pytest.raises(SystemExit, match='already holds a synthetic set'):
        run()
    run('--force', '--seed', '4')
    record = json.loads((tmp_path / 'set/synthetic_oranges.json').read_text())
    assert record['arguments']['seed'] == 4
