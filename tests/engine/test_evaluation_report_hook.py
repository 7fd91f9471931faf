"""EvaluationReportHook: what lies in the work dir after a test run."""
import csv
import json
import logging
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmseg.registry import DATASETS, HOOKS, MODELS
from PIL import Image

from fastsegformer_mm.engine.hooks.evaluation_report_hook import EvaluationReportHook
from fastsegformer_mm.evaluation.metrics.defect_iou_metric import DefectIoUMetric
from fastsegformer_mm.visualization.evaluation_plots import (
    class_bar_figure,
    confusion_matrix_figure,
    short_count,
)

CLASSES = ('background', 'sunburn, light', 'ulcer')
# label and prediction of two images: class 2 is absent
PIXELS = [([0, 0, 0, 1], [0, 0, 1, 1]), ([0, 1, 1, 255], [0, 1, 0, 0])]
MATRIX = [[3, 1, 0], [1, 2, 0], [0, 0, 0]]
FILES = {
    'confusion_matrix.csv', 'confusion_matrix.png', 'metrics.json',
    'per_class_iou.png', 'per_class_precision.png', 'per_class_recall.png'
}


@DATASETS.register_module()
class TwoLabelledImages(BaseDataset):
    METAINFO = {'classes': CLASSES}

    def load_data_list(self):
        return [{'label': label, 'pred': pred} for label, pred in PIXELS]


@MODELS.register_module()
class ReadsThePrediction(BaseModel):
    """Predicts what the data set says."""

    def forward(self, label, pred, sample_idx, mode):
        # the collation has made a list of columns of the lists of pixels
        rows = zip(torch.stack(label, dim=1), torch.stack(pred, dim=1))
        return [{'gt_sem_seg': {'data': gt[None, None]},
                 'pred_sem_seg': {'data': seg[None, None]}} for gt, seg in rows]


def make_runner(tmp_path, evaluator, hook, mode='test'):
    loader = {
        'dataset': {'type': 'TwoLabelledImages'},
        'sampler': {'type': 'DefaultSampler', 'shuffle': False},
        'collate_fn': {'type': 'default_collate'},
        'batch_size': 2,
    }
    runner = Runner.from_cfg(Config({
        'default_scope': 'mmseg',
        'model': {'type': 'ReadsThePrediction'},
        'work_dir': str(tmp_path),
        'experiment_name': uuid.uuid4().hex,
        f'{mode}_dataloader': loader,
        f'{mode}_cfg': {},
        f'{mode}_evaluator': evaluator,
        'custom_hooks': [hook],
    }))
    runner.messages = []
    handler = logging.Handler()
    handler.emit = lambda record: runner.messages.append(
        (record.levelname, record.getMessage()))
    runner.logger.addHandler(handler)
    return runner


def said(runner, part):
    return [message for message in runner.messages if part in message[1]]


def test_report_after_a_test_run(tmp_path):
    pyplot_was_there = 'matplotlib.pyplot' in sys.modules
    runner = make_runner(tmp_path, {'type': 'DefectIoUMetric'},
                         {'type': 'EvaluationReportHook'})
    figures = runner.test()
    out_dir = Path(runner.log_dir, 'evaluation')
    assert {file.name for file in out_dir.iterdir()} == FILES
    assert [level for level, _ in said(runner, str(out_dir))] == ['INFO']

    with (out_dir / 'confusion_matrix.csv').open(encoding='utf-8') as file:
        rows = list(csv.reader(file))
    assert rows[0] == ['label / prediction', *CLASSES]
    assert [row[0] for row in rows[1:]] == list(CLASSES)
    assert [[int(count) for count in row[1:]] for row in rows[1:]] == MATRIX

    report = json.loads((out_dir / 'metrics.json').read_text(encoding='utf-8'))
    assert report['metrics'] == figures
    assert figures['mIoU'] == 55.0  # (3 / 5 + 2 / 4) / 2
    assert report['class_names'] == list(CLASSES)
    assert report['confusion_matrix'] == MATRIX
    assert (report['exclude_background'], report['absent']) == (False, 'skip')
    assert report['per_class'][0]['IoU'] == 60.0
    assert report['per_class'][2] == {
        'Class': 'ulcer', 'IoU': None, 'PA/Recall': None, 'Precision': None,
        'Pixels': 0.0}
    for file in out_dir.glob('*.png'):
        picture = np.array(Image.open(file).convert('L'))
        assert picture.std() > 10, f'{file.name} is empty'
    assert pyplot_was_there or 'matplotlib.pyplot' not in sys.modules


def test_dpi_sets_the_size_of_the_pictures(tmp_path):
    sizes = []
    for dpi in (40, 80):
        runner = make_runner(tmp_path, {'type': 'DefectIoUMetric'},
                             {'type': 'EvaluationReportHook', 'dpi': dpi})
        runner.test()
        out_dir = Path(runner.log_dir, 'evaluation')
        sizes.append(Image.open(out_dir / 'per_class_iou.png').size)
    assert sizes[1] == (2 * sizes[0][0], 2 * sizes[0][1])


def test_a_folder_for_each_of_several_metrics(tmp_path):
    runner = make_runner(tmp_path, [
        {'type': 'DefectIoUMetric', 'prefix': 'all'},
        {'type': 'DefectIoUMetric', 'prefix': 'defects', 'absent': 'zero',
         'exclude_background': True},
    ], {'type': 'EvaluationReportHook'})
    runner.test()
    reports = {
        file.parent.name: json.loads(file.read_text())
        for file in Path(runner.log_dir, 'evaluation').glob('*/metrics.json')
    }
    assert reports['all']['metrics']['mIoU'] == 55.0
    assert reports['defects']['metrics']['mIoU'] == 25.0  # (2 / 4 + 0) / 2
    assert reports['defects']['exclude_background']
    assert reports['defects']['per_class'][2]['IoU'] == 0.0


@pytest.mark.parametrize('on_val', [True, False])
def test_validation_only_when_asked_for(tmp_path, on_val):
    runner = make_runner(
        tmp_path, {'type': 'DefectIoUMetric'},
        {'type': 'EvaluationReportHook', 'on_val': on_val}, mode='val')
    runner.val()
    out_dir = Path(runner.log_dir, 'evaluation_val')
    assert out_dir.exists() == on_val
    assert not Path(runner.log_dir, 'evaluation').exists()


def test_without_the_metric_it_warns_once(tmp_path):
    runner = make_runner(tmp_path, {'type': 'IoUMetric'},
                         {'type': 'EvaluationReportHook'})
    runner.test()
    runner.test()
    (level, message), = said(runner, 'nothing to report')
    assert level == 'WARNING'
    assert "test_evaluator = dict(type='DefectIoUMetric')" in message
    assert not Path(runner.log_dir, 'evaluation').exists()


def test_format_only_has_nothing_to_report(tmp_path, monkeypatch):
    runner = make_runner(tmp_path, {'type': 'DefectIoUMetric'},
                         {'type': 'EvaluationReportHook'})
    monkeypatch.setattr(DefectIoUMetric, 'compute_metrics', lambda *_: {})
    runner.test()
    assert said(runner, 'format_only=True')
    assert not Path(runner.log_dir, 'evaluation').exists()


def test_only_rank_0_writes(tmp_path, monkeypatch):
    runner = make_runner(tmp_path, {'type': 'DefectIoUMetric'},
                         {'type': 'EvaluationReportHook'})
    monkeypatch.setattr('mmengine.dist.utils.get_rank', lambda group=None: 1)
    hook = HOOKS.build({'type': 'EvaluationReportHook'})
    assert isinstance(hook, EvaluationReportHook)
    # on rank 1 the metric has no matrix and the evaluator is never looked at
    assert hook._report(runner, None, 'test', 'evaluation') is None


def test_confusion_matrix_picture_says_shares_and_counts():
    figure = confusion_matrix_figure(np.array(MATRIX), CLASSES)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == [
        '75.0%\n3', '25.0%\n1', '0.0%\n0', '33.3%\n1', '66.7%\n2', '0.0%\n0',
        '0', '0', '0']
    np.testing.assert_allclose(
        axes.images[0].get_array().filled(np.nan),
        [[75, 25, 0], [100 / 3, 200 / 3, 0], [np.nan] * 3])
    assert [t.get_text() for t in axes.get_xticklabels()] == list(CLASSES)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ('prediction', 'label')


def test_many_classes_are_not_annotated():
    names = [f'class {i}' for i in range(40)]
    figure = confusion_matrix_figure(np.eye(40, dtype=np.int64), names)
    assert len(figure.axes[0].texts) == 0
    assert max(figure.get_size_inches()) < 15


def test_bars_say_value_and_mean():
    figure = class_bar_figure([60.0, 50.0, float('nan')], CLASSES, 'IoU', 55.0,
                              'mean without background')
    axes = figure.axes[0]
    assert [bar.get_width() for bar in axes.patches] == [60.0, 50.0, 0.0]
    assert [text.get_text() for text in axes.texts] == ['60.00', '50.00', 'n/a']
    assert axes.get_xlabel() == 'IoU (%)'
    legend, = figure.legends
    assert [t.get_text() for t in legend.texts] == ['mean without background 55.00']
    # the first class is at the top
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    without = class_bar_figure([60.0], ['background'], 'IoU', float('nan'))
    assert without.legends == []
    assert len(without.axes[0].lines) == 0


@pytest.mark.parametrize(('count', 'text'), [
    (0, '0'), (99_999, '99,999'), (123_987, '124k'), (12_345_678, '12.3M'),
    (4_560_000_000, '4.56G'),
])
def test_short_count(count, text):
    assert short_count(count) == text
