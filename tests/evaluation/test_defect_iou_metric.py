"""DefectIoUMetric against hand-computed figures and MMSegmentation's IoUMetric."""
import inspect
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dist import get_rank
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from PIL import Image

import fastsegformer_mm
from fastsegformer_mm.evaluation.metrics import defect_iou_metric
from fastsegformer_mm.evaluation.metrics.defect_iou_metric import DefectIoUMetric
from robust_training.cpu_launchers import leave_process_group

CLASSES = ('background', 'sunburn', 'ulcer', 'wind scarring')

# rows label, columns prediction; class 2 is predicted and never labelled, class 3
# is labelled and never predicted
PREDICTED_ONLY = [[6, 1, 1, 0], [2, 3, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]
# class 2 is neither labelled nor predicted
ABSENT = [[6, 2, 0, 0], [1, 3, 0, 0], [0, 0, 0, 0], [0, 2, 0, 2]]


def make_sample(pred, label, name='orange'):
    return {
        'pred_sem_seg': {'data': torch.as_tensor(pred)[None]},
        'gt_sem_seg': {'data': torch.as_tensor(label)[None]},
        'img_path': f'images/{name}.jpg',
        'seg_map_path': f'labels/{name}.png',
    }


def sample_of(matrix):
    """One image, one row high, that has this confusion matrix."""
    pairs = [(label, pred) for label, row in enumerate(matrix)
             for pred, count in enumerate(row) for _ in range(count)]
    label, pred = np.array(pairs).T[:, None]
    return make_sample(pred, label)


def build(classes=CLASSES, **kwargs):
    metric = METRICS.build({'type': 'DefectIoUMetric', **kwargs})
    metric.dataset_meta = {'classes': classes}
    return metric


def evaluate(matrix, **kwargs):
    metric = build(**kwargs)
    metric.process({}, [sample_of(matrix)])
    return metric, metric.evaluate(1)


def percent(*fractions):
    return round(100 * sum(fractions) / len(fractions), 2)


def column(metric, name):
    return [row[name] for row in metric.class_table]


def test_figures_of_a_small_matrix():
    metric, figures = evaluate(ABSENT)
    # class:      0            1            3
    iou = (6 / 9, 3 / 8, 2 / 4)
    recall = (6 / 8, 3 / 4, 2 / 4)
    precision = (6 / 7, 3 / 7, 2 / 2)
    assert figures == {
        'aAcc': percent(11 / 16),
        'mIoU': percent(*iou),
        'mPA': percent(*recall),
        'mPrecision': percent(*precision),
        'mRecall': percent(*recall),
    }
    assert metric.summary == figures
    assert metric.confusion_matrix.dtype == np.int64
    assert metric.confusion_matrix.tolist() == ABSENT
    assert column(metric, 'Class') == list(CLASSES)
    assert column(metric, 'Pixels') == [50.0, 25.0, 0.0, 25.0]
    np.testing.assert_equal(column(metric, 'IoU'), [66.67, 37.5, np.nan, 50.0])
    np.testing.assert_equal(column(metric, 'PA/Recall'), [75, 75, np.nan, 50])
    np.testing.assert_equal(
        column(metric, 'Precision'), [85.71, 42.86, np.nan, 100])


def test_absent_zero_counts_0_as_the_official_evaluation():
    metric, figures = evaluate(ABSENT, absent='zero')
    hist = np.array(ABSENT)
    hit, label, pred = np.diag(hist), hist.sum(1), hist.sum(0)
    assert figures == {
        'aAcc': percent(11 / 16),
        'mIoU': percent(*hit / np.maximum(label + pred - hit, 1)),
        'mPA': percent(*hit / np.maximum(label, 1)),
        'mRecall': percent(*hit / np.maximum(label, 1)),
        'mPrecision': percent(*hit / np.maximum(pred, 1)),
    }
    assert figures['mIoU'] == percent(6 / 9, 3 / 8, 0, 2 / 4)
    assert column(metric, 'IoU')[2] == column(metric, 'Precision')[2] == 0


def test_each_figure_has_its_own_undefined_classes():
    metric, figures = evaluate(PREDICTED_ONLY, iou_metrics=['mDice', 'mFscore'])
    np.testing.assert_equal(column(metric, 'IoU'), [54.55, 50, 0, 0])
    np.testing.assert_equal(column(metric, 'PA/Recall'), [75, 60, np.nan, 0])
    np.testing.assert_equal(column(metric, 'Precision'), [66.67, 75, 0, np.nan])
    np.testing.assert_equal(column(metric, 'Dice'), [70.59, 66.67, 0, 0])
    assert column(metric, 'Fscore') == column(metric, 'Dice')
    assert figures['mPA'] == percent(6 / 8, 3 / 5, 0)
    assert figures['mPrecision'] == percent(6 / 9, 3 / 4, 0)
    _, zero = evaluate(PREDICTED_ONLY, absent='zero')
    assert zero['mPA'] == percent(6 / 8, 3 / 5, 0, 0)
    assert zero['mPrecision'] == percent(6 / 9, 3 / 4, 0, 0)


def test_beta_weighs_recall():
    _, figures = evaluate(ABSENT, iou_metrics='mFscore', beta=2)
    # (1 + 4) TP / (4 label + prediction)
    assert figures['mFscore'] == percent(30 / 39, 15 / 23, 10 / 18)
    assert 'mDice' not in figures


@pytest.mark.parametrize(('index', 'iou'), [
    (0, (3 / 8, 2 / 4)),
    (1, (6 / 9, 2 / 4)),
])
def test_background_is_left_out_of_the_means_alone(index, iou):
    metric, figures = evaluate(
        ABSENT, exclude_background=True, background_index=index)
    assert figures['mIoU'] == percent(*iou)
    assert figures['aAcc'] == percent(11 / 16)
    assert len(metric.class_table) == 4
    _, zero = evaluate(ABSENT, exclude_background=True, absent='zero',
                       background_index=index)
    assert zero['mIoU'] == percent(*iou, 0)


@pytest.mark.parametrize(('meta', 'left_out'), [
    (dict(classes=('background', 'a', 'b', 'c')), 0),
    (dict(classes=('a', '_background_', 'b', 'c')), 1),
    (dict(classes=('a', 'sound', 'b', 'c'), background=1), 1),
    (dict(classes=('a', 'sound', 'b', 'c'), background='sound'), 1),
    (dict(classes=('a', 'sound', 'b', 'c')), 0)])
def test_background_is_that_of_the_data_set(monkeypatch, meta, left_out):
    _, expected = evaluate(ABSENT, exclude_background=True, background_index=left_out)
    lines = []
    monkeypatch.setattr(
        defect_iou_metric, 'print_log', lambda text, *_, **__: lines.append(text))
    metric = DefectIoUMetric(exclude_background=True)
    metric.dataset_meta = meta
    for _ in range(2):
        metric.process({}, [sample_of(ABSENT)])
        assert metric.evaluate(size=1) == expected
    assert metric.left_out == left_out
    warned = [line for line in lines if 'is known as the background' in line]
    # said once, where class 0 is a guess
    assert len(warned) == (meta['classes'][0] == 'a' and left_out == 0)


def test_agrees_with_iou_metric():
    rng = np.random.default_rng(0)
    samples = []
    for index in range(5):
        label = rng.integers(0, 4, (17, 23))
        pred = np.where(rng.random((17, 23)) < 0.6, label, rng.integers(0, 4, (17, 23)))
        label[:, :3] = 255
        samples.append(make_sample(pred, label, str(index)))
    stock = IoUMetric(iou_metrics=['mIoU', 'mDice', 'mFscore'], beta=2)
    stock.dataset_meta = {'classes': CLASSES}
    ours = build(iou_metrics=['mIoU', 'mDice', 'mFscore'], beta=2, prefix='ours')
    for metric in (stock, ours):
        metric.process({}, samples[:2])
        metric.process({}, samples[2:])
    expected = stock.evaluate(5)
    figures = ours.evaluate(5)
    assert ours.confusion_matrix.sum() == 5 * 17 * 20
    for key in ('aAcc', 'mIoU', 'mDice', 'mFscore', 'mPrecision', 'mRecall'):
        # the stock metric computes in float32
        assert figures[f'ours/{key}'] == pytest.approx(expected[key], abs=0.011)
    assert figures['ours/mPA'] == pytest.approx(expected['mAcc'], abs=0.011)


def test_nothing_to_average_is_nan():
    metric = build()
    metric.process({}, [make_sample([[0, 1]], [[255, 255]])])
    assert all(np.isnan(value) for value in metric.evaluate(1).values())


def test_ignore_index_may_be_a_class():
    metric = build(ignore_index=0)
    metric.process({}, [make_sample([[0, 1, 1]], [[0, 0, 1]])])
    assert metric.evaluate(1)['aAcc'] == 100
    assert metric.confusion_matrix.sum() == 1


def test_label_outside_the_classes_names_file_and_value():
    metric = build()
    with pytest.raises(ValueError, match='ignore_index=255') as error:
        metric.process({}, [
            make_sample([[0, 1, 0]], [[0, 1, 2]], 'good'),
            make_sample([[0, 1, 0]], [[7, 38, 38]], 'bad'),
        ])
    for words in ('labels/bad.png', 'images/bad.jpg', '7 (1 pixels), 38 (2 pixels)',
                  '0 to 3', 'wind scarring'):
        assert words in str(error.value)
    with pytest.raises(ValueError, match='the value -1'):
        metric.process({}, [make_sample([[0]], [[-1]])])


def test_prediction_outside_the_classes_and_wrong_size():
    with pytest.raises(ValueError, match=r'prediction holds the value 4.*num_classes'):
        build().process({}, [make_sample([[0, 4]], [[0, 1]])])
    # a class name is text, not a format
    with pytest.raises(ValueError, match=r'\{hole\}.*images/orange.jpg'):
        build(classes=('background', '{hole}')).process(
            {}, [make_sample([[0]], [[3]])])
    with pytest.raises(ValueError, match=r'\(2, 3\).*\(3, 2\).*orange.jpg'):
        build().process({}, [make_sample(np.zeros((2, 3)), np.zeros((3, 2)))])


@pytest.mark.parametrize(('kwargs', 'message'), [
    ({'iou_metrics': ['mAcc']}, r"'mAcc'.* not known"),
    ({'nan_to_num': -1, 'absent': 'zero'}, 'contradict each other'),
    ({'absent': 'ignore'}, "'skip' or 'zero'"),
    ({'beta': 0}, 'beta=0'),
    ({'format_only': True}, 'needs output_dir'),
])
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        DefectIoUMetric(**kwargs)


def test_nan_to_num_as_iou_metric_has_it():
    for number in (0, -1):
        stock = IoUMetric(iou_metrics=['mIoU', 'mDice', 'mFscore'], nan_to_num=number)
        stock.dataset_meta = {'classes': CLASSES}
        stock.process({}, [sample_of(ABSENT)])
        expected = stock.evaluate(1)
        metric, figures = evaluate(
            ABSENT, nan_to_num=number, iou_metrics=['mIoU', 'mDice', 'mFscore'])
        for key in ('mIoU', 'mDice', 'mPrecision', 'mRecall', 'mFscore'):
            assert figures[key] == pytest.approx(expected[key], abs=0.011)
        assert figures['mPA'] == pytest.approx(expected['mAcc'], abs=0.011)
        assert column(metric, 'IoU')[2] == 100 * number
    assert evaluate(ABSENT, nan_to_num=0)[1] == evaluate(ABSENT, absent='zero')[1]


def test_takes_what_iou_metric_takes():
    """In any stack: the same names, in the same order where they are positional."""
    stock = inspect.signature(IoUMetric.__init__).parameters
    ours = inspect.signature(DefectIoUMetric.__init__).parameters
    assert stock.keys() <= ours.keys()
    first = [*stock][:5]
    assert [*ours][:5] == first == [
        'self', 'ignore_index', 'iou_metrics', 'nan_to_num', 'beta']
    for name, parameter in stock.items():
        assert ours[name].kind == parameter.kind


@pytest.mark.parametrize('kwargs', [
    # MMSegmentation's test.py --out sets both
    {'output_dir': 'out', 'keep_results': True},
    {'output_dir': 'out', 'keep_results': True, 'format_only': True},
    {'collect_device': 'cpu', 'prefix': 'p', 'beta': 2, 'iou_metrics': 'mFscore'},
    {'classwise': True},
    {'collect_dir': 'out'},
])
def test_arguments_of_iou_metric(kwargs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    IoUMetric(**kwargs)
    metric = DefectIoUMetric(**kwargs)
    for name in kwargs.keys() & {'output_dir', 'format_only', 'prefix', 'beta'}:
        assert getattr(metric, name) == kwargs[name]


def test_arguments_without_effect_are_said(monkeypatch):
    said = []
    monkeypatch.setattr(
        defect_iou_metric, 'print_log', lambda text, *_: said.append(text))
    DefectIoUMetric(keep_results=True)
    assert said == []
    DefectIoUMetric(classwise=True)
    assert len(said) == 1
    assert "no argument 'classwise', which is ignored; it has ignore_index," in said[0]


def test_misspelt_argument_is_refused():
    with pytest.raises(TypeError, match="did you mean 'exclude_background'"):
        DefectIoUMetric(exclude_backgroud=True)


def test_predictions_of_one_name(tmp_path, monkeypatch):
    """Images of two folders have one name: the second file replaces the first."""
    said = []
    monkeypatch.setattr(
        defect_iou_metric, 'print_log', lambda text, *_: said.append(text))
    metric = build(output_dir=str(tmp_path))
    square = [[0, 1], [1, 0]]
    first, second = (make_sample(square, square) for _ in 'ab')
    second['img_path'] = 'more/orange.jpg'
    metric.process({}, [first, first])
    assert said == []
    metric.process({}, [second])
    assert len(said) == 1
    for words in ('orange.png is overwritten', 'images/orange.jpg', 'more/orange.jpg'):
        assert words in said[0]


def test_background_index_outside_the_classes():
    with pytest.raises(ValueError, match=r'background_index=4.*0 to 3'):
        evaluate(ABSENT, exclude_background=True, background_index=4)


def test_predictions_are_written(tmp_path):
    pred = np.array([[0, 1, 2], [3, 0, 0]])
    sample = make_sample(pred, pred)
    metric = build(output_dir=str(tmp_path / 'both'))
    metric.process({}, [sample])
    assert metric.evaluate(1)['mIoU'] == 100
    written = Image.open(tmp_path / 'both/orange.png')
    np.testing.assert_array_equal(np.array(written), pred)

    metric = build(output_dir=str(tmp_path / 'only'), format_only=True)
    del sample['gt_sem_seg']
    metric.process({}, [sample])
    assert metric.evaluate(1) == {}
    assert metric.confusion_matrix is None
    assert (tmp_path / 'only/orange.png').is_file()


def test_one_result_an_image_and_cut_to_the_data_set():
    metric = build()
    good = make_sample([[1, 1]], [[1, 1]])
    repeated = make_sample([[0, 0]], [[1, 1]])
    metric.process({}, [good, good, repeated])
    assert len(metric.results) == 3
    assert metric.evaluate(2)['aAcc'] == 100
    assert metric.results == []


def _rank_main():
    """Three images on two ranks: the sampler repeats the first for rank 1."""
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{Path.cwd()}/store',
        rank=int(os.environ['RANK']), world_size=2)
    images = [make_sample([[0, 0]], [[0, 0]]), make_sample([[1, 1]], [[1, 1]]),
              make_sample([[1, 2]], [[1, 1]])]
    metric = build()
    for index in ((0, 2), (1, 0))[get_rank()]:
        metric.process({}, [images[index]])
    figures = metric.evaluate(3)
    assert figures['aAcc'] == percent(5 / 6), figures
    if get_rank() == 0:
        assert metric.confusion_matrix.tolist() == [
            [2, 0, 0, 0], [0, 3, 1, 0], [0] * 4, [0] * 4]
    else:
        assert metric.confusion_matrix is None
    torch.distributed.barrier()
    leave_process_group()


def test_collection_over_two_ranks(tmp_path):
    root = Path(fastsegformer_mm.__file__).parents[1]
    env = dict(os.environ, PYTHONPATH=str(root), OMP_NUM_THREADS='1',
               CUDA_VISIBLE_DEVICES='')
    ranks = [
        subprocess.Popen([sys.executable, __file__], cwd=tmp_path,
                         env=dict(env, RANK=str(rank)),
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for rank in range(2)
    ]
    outputs = [rank.communicate(timeout=600)[0].decode() for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], '\n'.join(outputs)


if __name__ == '__main__':
    _rank_main()
