"""The hook in real runs: it stops before the first iteration, or lets them be."""

import logging
import runpy
import shutil
import uuid
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv.cnn import ConvModule
from mmengine.runner import Runner
from mmseg.datasets.transforms import LoadAnnotations, PackSegInputs
from mmseg.evaluation import IoUMetric
from mmseg.registry import DATASETS, MODELS
from PIL import Image

from fastsegformer_mm.datasets.checks import DatasetError
from fastsegformer_mm.engine.hooks import check_dataset_hook
from fastsegformer_mm.engine.hooks.check_dataset_hook import CheckDatasetHook

tiny = runpy.run_path(
    str(Path(__file__).parents[1] / 'datasets/checks/tiny_set.py'))
make, paths, stripes = tiny['make'], tiny['paths'], tiny['stripes']
HOOK = dict(type='CheckDatasetHook')


@MODELS.register_module(force=True)
class OneConv(ConvModule):
    def __init__(self):
        super().__init__(3, 4, 3, 2, 1)

    def forward(self, x):
        return [super().forward(x)]


def model(classes=4):
    return dict(
        type='EncoderDecoder',
        data_preprocessor=dict(
            type='SegDataPreProcessor', mean=[0.] * 3, std=[255.] * 3, size=(24, 32)),
        backbone=dict(type='OneConv'),
        decode_head=dict(
            type='FCNHead', in_channels=4, in_index=0, channels=4, num_convs=1,
            concat_input=False, num_classes=classes, align_corners=False,
            loss_decode=dict(type='CrossEntropyLoss')),
        train_cfg=dict(), test_cfg=dict(mode='whole'))


@pytest.fixture
def runner(tmp_path):
    """Makes runners of the set in ``tmp_path/set``: one step, one validation."""
    def run(*hooks, **changes):
        cfg = tiny['config'](tmp_path / 'set')
        pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
                    dict(type='PackSegInputs')]
        for split in ('train', 'val', 'test'):
            loader = cfg[f'{split}_dataloader']
            loader.update(batch_size=2, num_workers=0, persistent_workers=False)
            loader.dataset.pipeline = pipeline
        cfg.merge_from_dict(dict(
            train_dataloader=dict(sampler=dict(type='DefaultSampler')),
            work_dir=str(tmp_path / 'work'), experiment_name=uuid.uuid4().hex,
            env_cfg=dict(cudnn_benchmark=False)))
        cfg.custom_hooks = list(hooks)
        cfg.model = model()
        cfg.default_hooks = dict(logger=None, checkpoint=None)
        cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=1, val_interval=1)
        cfg.val_cfg, cfg.test_cfg = dict(type='ValLoop'), dict(type='TestLoop')
        cfg.optim_wrapper = dict(optimizer=dict(type='SGD', lr=.1))
        cfg.param_scheduler = None
        for name in ('val_evaluator', 'test_evaluator'):
            cfg[name] = dict(type='IoUMetric', iou_metrics=['mIoU'])
        cfg.visualizer = None
        cfg.merge_from_dict(changes)
        return Runner.from_cfg(cfg)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    make(tmp_path / 'set')
    yield run
    torch.set_num_threads(threads)


@pytest.fixture
def log():
    """The lines of the runners' loggers."""
    lines = []

    class Collect(logging.Handler):
        def emit(self, record):
            lines.append((record.levelname, record.getMessage()))

    def collect(runner):
        runner.logger.addHandler(Collect())
        return lines

    return collect


def set_label(tmp_path, split, values, name=None):
    label = paths(tmp_path / 'set', split, name or f'{split}0')[1]
    Image.fromarray(values).save(label)
    return label


def test_sound_data_trains(runner, log, monkeypatch):
    run = runner(HOOK)
    lines = log(run)
    checks = []
    check = check_dataset_hook.check_dataset
    monkeypatch.setattr(
        check_dataset_hook, 'check_dataset',
        lambda cfg, splits, **kwargs: checks.append(splits) or check(
            cfg, splits, **kwargs))
    run.train()
    assert run.iter == 1
    [line] = [text for _, text in lines if 'CheckDatasetHook' in text]
    assert line.startswith(
        'CheckDatasetHook: 0 error(s) and 0 warning(s); pairs looked into: train 2 of '
        '2, val 2 of 2; ')
    run.test()
    run.val()
    # each split once, though the validation comes again
    assert checks == [['train', 'val'], ['test']]


def test_label_out_of_range_stops_before_the_first_iteration(runner, tmp_path):
    label = set_label(tmp_path, 'train', stripes() + 3)
    run = runner(HOOK)
    with pytest.raises(DatasetError) as caught:
        run.train()
    lines = str(caught.value).splitlines()
    assert lines[0].endswith(' has 1 error(s):')
    assert lines[1].strip().startswith(
        f'train: label-out-of-range: {label}: values 4 (25.0 %)')
    assert 'check_dataset.py' in lines[2]
    assert run.iter == 0
    # validation data alone is checked where it alone is used
    runner(HOOK).val()
    with pytest.raises(DatasetError):
        runner(HOOK, val_dataloader=run.cfg.train_dataloader).val()


@pytest.mark.parametrize(('fault', 'text'), [
    ('empty', 'folder-empty: '), ('suffix', '.JPG (2), such as train0.JPG, expected')])
@pytest.mark.parametrize('kind', ['NEUSegDataset', 'BaseSegDataset'])
def test_data_that_cannot_be_built(runner, tmp_path, fault, text, kind):
    folder = tmp_path / 'set/images/train'
    for image in folder.iterdir():
        image.rename(image.with_suffix('.JPG'))
    if fault == 'empty':
        shutil.rmtree(folder)
        folder.mkdir()
    metainfo = dict(classes=('background', 'inclusion', 'patch', 'scratch'))
    with pytest.raises(DatasetError, match=text.replace('(', r'\(').replace(
            ')', r'\)')) as caught:
        runner(HOOK, train_dataloader=dict(dataset=dict(
            type=kind, metainfo=metainfo))).train()
    cause = caught.value.__cause__
    assert isinstance(cause, FileNotFoundError if kind == 'NEUSegDataset'
                      else ValueError)
    if kind == 'BaseSegDataset':
        assert str(cause) == 'need at least one array to concatenate'
    # a test needs no training images
    runner(HOOK).test()


def test_the_test_split_alone_is_checked_by_a_test(runner, tmp_path):
    set_label(tmp_path, 'train', stripes() + 3)
    label = set_label(tmp_path, 'test', stripes()[:9])
    with pytest.raises(DatasetError, match=f'test: size-differs: {label}: 9x32, exp'):
        runner(HOOK, train_dataloader=None, train_cfg=None, optim_wrapper=None,
               val_dataloader=None, val_cfg=None, val_evaluator=None).test()
    shutil.rmtree(tmp_path / 'set/images/test')
    with pytest.raises(DatasetError, match='test: folder-missing: '):
        runner(HOOK).test()


def test_without_the_hook_nothing_is_changed(runner, tmp_path):
    runner(HOOK)
    shutil.rmtree(tmp_path / 'set/images/train')
    with pytest.raises(FileNotFoundError, match='there is no image folder') as caught:
        runner().train()
    assert caught.value.__cause__ is None
    assert Runner.build_dataloader.__name__ == 'build_dataloader'


def test_what_is_not_the_data_is_raised_as_it_was(runner, log):
    run = runner(HOOK, train_dataloader=dict(sampler=dict(type='NoSuchSampler')))
    lines = log(run)
    with pytest.raises(KeyError, match='NoSuchSampler'):
        run.train()
    assert ('INFO', 'CheckDatasetHook: found nothing that explains why the train data '
            'cannot be built') in lines


@DATASETS.register_module(force=True)
class Noise(torch.utils.data.Dataset):
    metainfo = dict(classes=('background', 'inclusion', 'patch', 'scratch'))

    def __init__(self, **kwargs):
        self.pack = PackSegInputs(meta_keys=())

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return self.pack(dict(img=np.zeros((24, 32, 3), np.uint8),
                              gt_seg_map=stripes(), seg_fields=[]))


def test_a_data_set_that_is_not_understood_trains(runner, log):
    run = runner(HOOK, train_dataloader=dict(dataset=dict(type='Noise')))
    lines = log(run)
    run.train()
    assert run.iter == 1
    [warning] = [text for level, text in lines if 'CheckDatasetHook: ' in text
                 and level == 'WARNING']
    assert 'train: not-understood: train_dataloader.dataset: Noise: ' in warning


def test_a_check_that_fails_itself_costs_no_training(runner, log, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError('disk on fire')

    monkeypatch.setattr(check_dataset_hook, 'check_dataset', fail)
    run = runner(HOOK)
    lines = log(run)
    run.train()
    assert run.iter == 1
    assert ('WARNING', 'CheckDatasetHook: the data was not checked, OSError: disk on '
            'fire') in lines


def test_full_sample_ignore_and_show(runner, tmp_path, log):
    make(tmp_path / 'set', count=5)
    for k in (1, 3):
        set_label(tmp_path, 'train', stripes() + 3, f'train{k}')
    run = runner(dict(HOOK, sample=2))  # the first and the last
    lines = log(run)
    run.call_hook('before_train')
    assert any('0 error(s) and 0 warning(s); pairs looked into: train 2 of 5, val 2 of '
               '5' in text for _, text in lines)
    with pytest.raises(DatasetError) as caught:
        runner(dict(HOOK, full=True, processes=2, show=1)).train()
    assert 'has 2 error(s)' in str(caught.value)
    assert 'label-out-of-range: ... and 1 more' in str(caught.value)
    run = runner(dict(HOOK, full=True, ignore=('label-out-of-range', )))
    lines = log(run)
    run.call_hook('before_train')
    assert any('0 error(s) and 0 warning(s); pairs looked into: train 5 of 5, val 5 of '
               '5' in text for _, text in lines)


def test_rank_0_checks_and_all_ranks_stop(runner, tmp_path, monkeypatch):
    set_label(tmp_path, 'train', stripes() + 3)
    sent = []
    monkeypatch.setattr(check_dataset_hook, 'broadcast_object_list', sent.append)
    run = runner(HOOK)
    with pytest.raises(DatasetError):
        run.train()
    [[message]] = sent
    assert 'label-out-of-range' in message

    # another rank looks at nothing, and raises what it is sent
    monkeypatch.setattr(check_dataset_hook, 'is_main_process', lambda: False)
    monkeypatch.setattr(check_dataset_hook, 'check_dataset', None)
    monkeypatch.setattr(check_dataset_hook, 'broadcast_object_list',
                        lambda data: data.__setitem__(0, message))
    run = runner(HOOK)
    with pytest.raises(DatasetError, match='label-out-of-range'):
        run.train()
    assert run.iter == 0


@pytest.mark.parametrize('name', ['sample', 'processes', 'show'])
def test_options_below_1(name):
    with pytest.raises(ValueError, match=f'CheckDatasetHook: {name} is 0, expected 1'):
        CheckDatasetHook(**{name: 0})


def test_plain_stack_scores_labels_out_of_range_with_100_percent():
    """The metric passes over the half of the pixels that is no class."""
    prediction = torch.from_numpy(stripes()).long()
    label = prediction.clone()
    label[:, 16:] += 7
    areas = IoUMetric.intersect_and_union(prediction % 2, label, 2, 255)
    # 9 and 10 are cut off as being no class, and no prediction of them counts
    intersect, union, predicted, labelled = (area.tolist() for area in areas)
    assert labelled == [192, 192]
    assert intersect == [192, 192]
    scores = IoUMetric.total_area_to_metrics(*areas[:4])
    assert scores['aAcc'] == 1.
    assert scores['Acc'].tolist() == [1., 1.]
    assert union == predicted == [384, 384]


def test_plain_stack_trains_on_labels_of_another_size(runner, tmp_path):
    """Padded to the batch's size without a word, so that they lie elsewhere."""
    for k in (0, 1):
        set_label(tmp_path, 'train', stripes((16, 16)), f'train{k}')
    run = runner()
    run.train()
    assert run.iter == 1


def test_plain_stack_loads_colours(tmp_path):
    make(tmp_path)
    label = paths(tmp_path, 'train', 'train0')[1]
    Image.fromarray(stripes()).convert('RGB').save(label)
    loaded = LoadAnnotations().transform(dict(
        seg_map_path=str(label), seg_fields=[], label_map=None,
        reduce_zero_label=False))['gt_seg_map']
    assert loaded.shape == (24, 32, 3)
