"""What pipelines fill labels with: no class but the background."""

import copy
import random
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope

from fastsegformer_mm.datasets.checks import check_dataset
from fastsegformer_mm.datasets.checks.pad_values import check_pad_values, filled_value
from fastsegformer_mm.datasets.checks.settings import model_settings
from fastsegformer_mm.datasets.checks.sources import find_sources

tiny = runpy.run_path(str(Path(__file__).with_name('tiny_set.py')))
config, make = tiny['config'], tiny['make']
SIZE = (64, 64)
PLACE = 'train_dataloader.dataset.pipeline[2]'
TWO = dict(classes=('ulcer', 'scar'), palette=[[9, 9, 9], [1, 1, 1]])


def problems(step, layout='mine', change=None, **dataset):
    cfg = config('data', layout, ['train'], **dataset)
    if step is not None:
        cfg.train_dataloader.dataset.pipeline[2] = copy.deepcopy(step)
    if change:
        change(cfg)
    with DefaultScope.overwrite_default_scope('mmseg'):
        return list(check_pad_values(find_sources(cfg, 'train')[0],
                                     model_settings(cfg)))


def brief(found):
    return [(p.kind, p.severity, p.file, p.value, p.way_out) for p in found]


# the classes of 'mine' are background and defect
@pytest.mark.parametrize(('step', 'value', 'way_out'), [
    (dict(type='RandomScalePaste', size=SIZE, seg_pad_val=1), 1, 'set seg_pad_val=255'),
    (dict(type='LetterBox', size=SIZE, seg_pad_val=1), 1, 'set seg_pad_val=255'),
    (dict(type='Pad', size=SIZE[::-1], pad_val=dict(img=0, seg=1)), 1,
     'set pad_val=dict(img=0, seg=255)'),
    (dict(type='RandomRotate', prob=0.3, degree=20, seg_pad_val=1), 1,
     'set seg_pad_val=255'),
    (dict(type='RandomCutOut', prob=0.3, n_holes=2, cutout_shape=(8, 8), seg_fill_in=1),
     1, 'set seg_fill_in=255'),
    (dict(type='RandomMosaic', prob=0.5, img_scale=(64, 64), seg_pad_val=1), 1,
     'set seg_pad_val=255')])
def test_a_class_that_is_not_the_background(step, value, way_out):
    [problem] = problems(step)
    assert brief([problem]) == [(
        'pad-value-is-class', 'error', f'{PLACE} {step["type"]}',
        f'fills labels with {value}, which is class 1 (defect)', way_out)]
    assert problem.expected == '255, which is ignored, or 0 (background)'


@pytest.mark.parametrize('step', [
    dict(type='RandomScalePaste', size=SIZE),
    dict(type='RandomScalePaste', size=SIZE, seg_pad_val=0),
    dict(type='RandomScalePaste', size=SIZE, seg_pad_val=255),
    dict(type='LetterBox', size=SIZE), dict(type='Pad', size=SIZE),
    dict(type='RandomRotate', prob=0.5, degree=20), dict(type='RandomRotFlip'),
    dict(type='RandomCutOut', prob=0.5, n_holes=2, cutout_shape=(8, 8)),
    dict(type='RandomCrop', crop_size=(30, 30), cat_max_ratio=0.75),
    dict(type='PhotoMetricDistortion'), dict(type='NoSuchTransform')])
def test_background_ignored_or_nothing(step):
    assert problems(step) == []


def test_zero_that_is_a_class_after_reduce_zero_label():
    """The canvas of the paste was trained as the first defect, without a word."""
    step = dict(type='RandomScalePaste', size=SIZE, seg_pad_val=0)
    [problem] = problems(step, reduce_zero_label=True, metainfo=TWO)
    assert str(problem) == (
        f'train: pad-value-is-class: {PLACE} RandomScalePaste: fills labels with 0, '
        'which is class 0 (ulcer) after reduce_zero_label, expected 255, which is '
        'ignored; set seg_pad_val=255')
    assert problem.severity == 'error'
    # by default it is what 0 in a label file is loaded as
    del step['seg_pad_val']
    assert problems(step, reduce_zero_label=True, metainfo=TWO) == []


def test_a_step_whose_value_cannot_be_set():
    [problem] = problems(
        dict(type='RandomRotFlip'), reduce_zero_label=True, metainfo=TWO)
    assert problem.way_out == (
        'replace the step: what it fills labels with cannot be set')


def test_classes_that_are_selected():
    chosen = dict(type='NavelOrangeDataset',
                  metainfo=dict(classes=('ulcer', 'sunburn')))
    step = dict(type='RandomScalePaste', size=SIZE, seg_pad_val=0)
    [problem] = problems(step, 'voc', **chosen)
    assert problem.value == 'fills labels with 0, which is class 0 (ulcer)'
    del step['seg_pad_val']
    assert problems(step, 'voc', **chosen) == []


def test_a_background_of_an_unknown_name_is_a_warning():
    meta = dict(classes=('sound', 'scar'))
    step = dict(type='RandomScalePaste', size=SIZE, seg_pad_val=0)
    [problem] = problems(step, metainfo=meta)
    assert (problem.severity, problem.way_out) == (
        'warning',
        'set seg_pad_val=255, or metainfo=dict(background=0) if that is it')
    assert problems(step, metainfo=dict(meta, background=0)) == []
    [problem] = problems(step, metainfo=dict(meta, background=1))
    assert problem.severity == 'error'
    [problem] = problems(step, metainfo=dict(meta, background=None))
    assert problem.severity == 'error'


def test_a_value_of_no_class():
    [problem] = problems(dict(type='LetterBox', size=SIZE, seg_pad_val=7))
    assert problem.value == 'fills labels with 7, which is no class'
    assert problem.severity == 'error'


def test_what_is_ignored_is_the_head_s():
    def change(cfg):
        cfg.model.decode_head.ignore_index = 7

    step = dict(type='LetterBox', size=SIZE, seg_pad_val=7)
    assert problems(step, change=change) == []
    [problem] = problems(dict(type='LetterBox', size=SIZE), change=change)
    assert problem.value == 'fills labels with 255, which is no class'


def test_steps_of_wrappers_and_the_data_preprocessor():
    def wrap(cfg):
        inner = cfg.train_dataloader.dataset
        cfg.train_dataloader.dataset = dict(
            type='MultiImageMixDataset', dataset=inner, pipeline=[
                dict(type='RandomMosaic', prob=1.0, img_scale=SIZE, seg_pad_val=1)])
        cfg.model.data_preprocessor.update(size=SIZE, seg_pad_val=1)

    mosaic, batch = problems(None, change=wrap)
    assert mosaic.file == 'train_dataloader.dataset.pipeline[0] RandomMosaic'
    assert batch.file == 'model.data_preprocessor'
    assert batch.value == 'fills labels with 1, which is class 1 (defect)'


def test_steps_before_the_labels_are_loaded_fill_none():
    def change(cfg):
        pipeline = cfg.train_dataloader.dataset.pipeline
        pipeline[1], pipeline[2] = pipeline[2], pipeline[1]

    step = dict(type='LetterBox', size=SIZE, seg_pad_val=1)
    assert problems(step, change=change) == []


def test_random_numbers_go_on_as_without_the_check():
    def draw():
        return np.random.random(), random.random(), float(torch.rand(()))  # noqa: NPY002

    def seed():
        np.random.seed(3)  # noqa: NPY002
        random.seed(3)
        torch.manual_seed(3)

    seed()
    expected = draw()
    source = find_sources(config('data', 'mine'), 'train')[0][0]
    seed()
    step = dict(type='RandomRotate', prob=0.5, degree=20, seg_pad_val=1)
    with DefaultScope.overwrite_default_scope('mmseg'):
        assert filled_value(step, source) == 1
    assert draw() == expected


def test_part_of_the_check(tmp_path):
    make(tmp_path, 'mine', splits=['train'])
    cfg = config(tmp_path, 'mine', ['train'])
    cfg.train_dataloader.dataset.pipeline[2].seg_pad_val = 1
    [problem] = check_dataset(cfg).problems
    assert (problem.kind, problem.severity) == ('pad-value-is-class', 'error')
    assert check_dataset(cfg, ignore=['pad-value-is-class']).ok
