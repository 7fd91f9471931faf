"""Options of model, data set and evaluator that do not fit together."""

import copy
import runpy
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope

from fastsegformer_mm.datasets.checks import Problem, check_dataset, splits_of
from fastsegformer_mm.datasets.checks.pad_values import check_pad_values
from fastsegformer_mm.datasets.checks.settings import check_settings, model_settings
from fastsegformer_mm.datasets.checks.sources import find_sources

tiny = runpy.run_path(str(Path(__file__).with_name('tiny_set.py')))
config, make = tiny['config'], tiny['make']
CONFIGS = sorted(
    path for pattern in ('configs/*/**/*.py', 'projects/*/configs/**/*.py')
    for path in tiny['ROOT'].glob(pattern))
CLASSES = '4, as NEUSegDataset has classes (background, inclusion, patch, scratch)'


def check(cfg, *splits):
    sources = [s for split in splits or ('train', )
               for s in find_sources(cfg, split)[0]]
    return check_settings(cfg, sources, model_settings(cfg))


def brief(problems):
    return [(p.kind, p.severity, p.split, p.file, p.value) for p in problems]


def test_every_config_of_ours_fits():
    checked, seen = 0, set()
    for path in CONFIGS:
        cfg = Config.fromfile(path)
        if splits_of(cfg) and 'model' in cfg:
            sources = [s for split in splits_of(cfg)
                       for s in find_sources(cfg, split)[0]]
            settings = model_settings(cfg)
            assert check_settings(cfg, sources, settings) == [], path.name
            # what pipelines fill labels with; most have the same steps
            steps = repr([(s.label_steps, s.classes, s.background, s.reduce_zero_label)
                          for s in sources] + [settings.preprocessor])
            if steps not in seen:
                seen.add(steps)
                with DefaultScope.overwrite_default_scope('mmseg'):
                    assert list(check_pad_values(sources, settings)) == [], path.name
            assert model_settings(cfg).num_classes is not None, path.name
            checked += 1
    assert checked > 90


def test_num_classes_of_every_head(tmp_path):
    cfg = config(tmp_path)
    cfg.model.decode_head.num_classes = 5
    assert check(cfg, 'train', 'val') == [Problem(
        'num-classes', 'error', '', 'model.decode_head.num_classes', '5', CLASSES,
        'set model.decode_head.num_classes=4, or the classes of the data set by '
        'train_dataloader.dataset.metainfo')]
    cfg.model.decode_head.num_classes = 4
    cfg.model.auxiliary_head = [dict(type='FCNHead', num_classes=4),
                                dict(type='FCNHead', num_classes=3)]
    assert brief(check(cfg)) == [
        ('num-classes', 'error', '', 'model.auxiliary_head[1].num_classes', '3')]
    # this one learns the outlines
    cfg.model.auxiliary_head[1].update(type='STDCHead', num_classes=2)
    assert check(cfg) == []


@pytest.mark.parametrize(('layout', 'out', 'wrong'), [
    ('neu', 4, False), ('neu', 1, True), ('neu', 2, True), ('mine', 1, False)])
def test_out_channels(tmp_path, layout, out, wrong):
    cfg = config(tmp_path, layout)
    cfg.model.decode_head.out_channels = out
    assert brief(check(cfg)) == wrong * [
        ('num-classes', 'error', '', 'model.decode_head.out_channels', str(out))]


def test_of_a_distillation_the_student_counts(tmp_path):
    path = next(p for p in CONFIGS if p.parent.name == 'small' and 'kd2' in p.name)
    cfg = copy.deepcopy(Config.fromfile(path))
    assert cfg.model.type == 'MultiResolutionDistill'
    cfg.model.architecture.decode_head.num_classes = 6
    assert brief(check(cfg)) == [
        ('num-classes', 'error', '', 'model.architecture.decode_head.num_classes',
         '6')]
    # as the test script wraps it for test-time augmentation
    cfg.model = dict(type='SegTTAModel', module=cfg.model.architecture)
    assert check(cfg)[0].file == 'model.module.decode_head.num_classes'


def test_without_classes(tmp_path):
    make(tmp_path)
    cfg = config(tmp_path, type='BaseSegDataset')
    cfg.train_dataloader.dataset.pop('metainfo', None)
    report = check_dataset(cfg, ['train'])
    assert brief(report.problems) == [(
        'classes-missing', 'error', 'train', 'train_dataloader.dataset.metainfo',
        'no classes')]
    assert report.splits['train'].checked == 2


@pytest.mark.parametrize(('background', 'found'), [
    ({}, [('background-unknown', 'warning', '',
           'train_dataloader.dataset.metainfo.background',
           'not set, and none of sound, scar is known as one')]),
    ({'background': 0}, []), ({'background': 'sound'}, []), ({'background': None}, []),
    ({'background': 5}, [
        ('background-is-no-class', 'error', split,
         f'{split}_dataloader.dataset.metainfo.background', '5')
        for split in ('train', 'val')])])
def test_background(tmp_path, background, found):
    cfg = config(tmp_path, 'mine', metainfo=dict(
        classes=('sound', 'scar'), palette=[[0, 0, 0], [1, 1, 1]], **background))
    # one line for splits of the same classes
    problems = check(cfg, 'train', 'val')
    assert brief(problems) == found
    if not background:
        assert problems[0].way_out.startswith(
            'set train_dataloader.dataset.metainfo=dict(background=K), sound is 0, or')


@pytest.mark.parametrize('name', ['背景', '_background_', 'bg'])
def test_background_of_known_names(tmp_path, name):
    meta = dict(classes=(name, 'scar'), palette=[[0, 0, 0], [1, 1, 1]])
    assert check(config(tmp_path, 'mine', metainfo=meta), 'train', 'val') == []
    [problem] = check(config(tmp_path, 'mine', metainfo=meta, reduce_zero_label=True))
    assert problem.kind == 'reduce-zero-label'


def test_reduce_zero_label_with_a_background(tmp_path):
    cfg = config(tmp_path, reduce_zero_label=True)
    [problem] = check(cfg)
    assert brief([problem]) == [(
        'reduce-zero-label', 'error', 'train',
        'train_dataloader.dataset.reduce_zero_label',
        'True, and the classes have a background: label 0 is ignored, and label 1 '
        'counts as background')]
    assert problem.way_out.startswith(
        'set train_dataloader.dataset.reduce_zero_label=False')


def test_reduce_zero_label_of_loader_and_data_set(tmp_path):
    cfg = config(tmp_path)
    cfg.train_dataloader.dataset.pipeline[1].reduce_zero_label = True
    [problem] = check(cfg)
    assert brief([problem]) == [(
        'reduce-zero-label', 'error', 'train',
        'train_dataloader.dataset.pipeline LoadAnnotations.reduce_zero_label',
        'True')]
    assert problem.expected == 'False, as the data set has it'
    cfg.train_dataloader.dataset.pipeline[1].reduce_zero_label = False
    assert check(cfg) == []


def test_reduce_zero_label_of_labels_that_count_from_zero(tmp_path):
    make(tmp_path)
    cfg = config(tmp_path, type='BaseSegDataset', reduce_zero_label=True,
                 metainfo=dict(classes=('a', 'b', 'c', 'd')))
    problem = check_dataset(cfg, ['train'], sample=2).problems[0]
    assert brief([problem]) == [(
        'reduce-zero-label', 'warning', 'train',
        'train_dataloader.dataset.reduce_zero_label',
        'True, the labels hold no value 4, and 25.0 % of the pixels are 0 or 255 and '
        'ignored')]


def test_ignore_index_that_is_a_class(tmp_path):
    cfg = config(tmp_path)
    cfg.model.decode_head.ignore_index = 0
    problems = check(cfg)
    assert brief(problems)[1] == (
        'ignore-index-is-class', 'error', '', 'model.decode_head.ignore_index',
        '0, which is class background')
    assert problems[1].way_out.startswith('set model.decode_head.ignore_index=255')


@pytest.mark.parametrize(('where', 'split'), [
    ('train_dataloader.dataset', 'train'), ('model.decode_head.loss_decode', ''),
    ('model.auxiliary_head', ''), ('val_evaluator', 'val')])
def test_ignore_indices_that_differ(tmp_path, where, split):
    cfg = config(tmp_path)
    cfg.model.auxiliary_head = dict(type='FCNHead', num_classes=4)
    cfg.model.decode_head.loss_decode = dict(type='DiceLoss')
    cfg.merge_from_dict({f'{where}.ignore_index': 200})
    assert brief(check(cfg, 'train', 'val')) == [
        ('ignore-index-differs', 'error', split, f'{where}.ignore_index', '200')]


def test_the_evaluator_leaves_out_255_unless_told(tmp_path):
    cfg = config(tmp_path, ignore_index=200)
    cfg.model.decode_head.ignore_index = 200
    assert check(cfg) == []
    assert brief(check(cfg, 'val')) == [
        ('ignore-index-differs', 'error', 'val', 'val_evaluator.ignore_index', '255')]
    cfg.val_evaluator.ignore_index = 200
    assert check(cfg, 'val') == []
