"""What a comparison finds, allows and says."""

import math
import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from rich.console import Console

from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.export import parity
from fastsegformer_mm.deploy.export.parity import Parity, tolerances
from fastsegformer_mm.deploy.export.reference import Reference
from fastsegformer_mm.deploy.export.samples import find_samples
from fastsegformer_mm.deploy.export.table import parity_table
from fastsegformer_mm.deploy.model_card import ModelCard

cases = SimpleNamespace(
    **runpy.run_path(str(Path(__file__).with_name('segmentor_cases.py')))
)
files = SimpleNamespace(
    **runpy.run_path(str(Path(__file__).with_name('export_case.py')))
)
CARD = ModelCard('m', ('a', 'b'), ((0, 0, 0), (9, 9, 9)), (4, 4), shape=(4, 4), batch=1)
GOOD = Parity(3, 'here', False, 'fp32', 1e-5, 2.0, 1.0, (50.0, 49.9), {'2 x 4': 0.0})


@pytest.mark.parametrize(
    ('precision', 'labelled', 'pre', 'wanted'),
    [
        ('fp32', True, False, {'logits': 1e-4, 'equal': 0.9999}),
        ('fp32', True, True, {'logits': 1e-4, 'equal': 0.999}),
        ('bf16', True, False, {'equal': 0.998}),
        ('fp16', False, True, {'equal': 0.998}),
        ('int8', True, False, {'miou': 0.2}),
        ('int8', False, True, {'equal': 0.99}),
    ],
)
def test_what_is_allowed(precision, labelled, pre, wanted):
    card = replace(CARD, precision=precision, with_pre=pre)
    assert tolerances(card, labelled) == wanted


def test_what_is_given_comes_first():
    assert tolerances(CARD, True, {'equal': 0.5, 'miou': 1}) == {
        'logits': 1e-4,
        'equal': 0.5,
        'miou': 1,
    }


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        (dict(), None),
        (dict(logits=2.1e-4), 'logits differ by 1.1e-04 of the largest'),
        (dict(logits=math.nan), 'logits differ by nan'),
        (dict(equal=0.99), '99.000% of the pixels are equal'),
        (dict(miou=(50.0, 49.7)), 'falls from 50.00 to 49.70'),
        (dict(miou=(50.0, 55.0)), None),
        (dict(miou=None), None),
        (
            dict(other_sizes={'1 x 8 x 9': 0.01}),
            'at 1 x 8 x 9 logits differ by 1.0e-02',
        ),
        (dict(other_sizes={'1 x 8 x 9': math.nan}), 'at 1 x 8 x 9'),
    ],
)
def test_failures_name_the_figure(changes, words):
    allowed = {'logits': 1e-4, 'equal': 0.9999, 'miou': 0.2}
    failures = replace(GOOD, tolerance=allowed, **changes).failures()
    assert len(failures) == (words is not None)
    if words:
        assert words in failures[0]


def test_other_sizes_have_a_limit_in_every_precision():
    found = replace(GOOD, tolerance={'equal': 0.9}, other_sizes={'s': 0.2})
    assert found.failures() == []
    assert len(replace(found, other_sizes={'s': 0.3}).failures()) == 1


def test_logit_difference_is_the_largest_and_keeps_nan():
    one = SimpleNamespace(image=np.zeros(1), logits=np.array([1.0, -4.0]))
    two = SimpleNamespace(image=np.ones(1), logits=np.array([2.0, 3.0]))
    found = parity.logit_difference(lambda x: np.array([1.5, -3.0 + x[0]]), [one, two])
    assert found == (5.0, 4.0)
    bad = parity.logit_difference(lambda x: np.array([np.nan, 0.0]), [one, two])
    assert math.isnan(bad[0])


def test_a_batch_is_of_different_images():
    card = replace(CARD, batch=None)
    image = np.arange(3 * 4 * 40, dtype=np.float32).reshape(1, 3, 4, 40)
    network = torch.nn.Identity()
    assert parity.other_sizes(lambda x: x, network, card, image) == {'2 x 4 x 40': 0}
    # the first image's result for both
    found = parity.other_sizes(lambda x: x[[0, 0]], network, card, image)
    assert found['2 x 4 x 40'] > 0.01


def test_a_size_that_does_not_run():
    card = replace(CARD, shape=None)

    def infer(x):
        raise RuntimeError('first line\nlast line')

    image = np.zeros((1, 3, 8, 8), np.float32)
    with pytest.raises(
        DeployError, match=r'1 x 40 x 104 \(last line\); choose --shape'
    ):
        parity.other_sizes(infer, torch.nn.Identity(), card, image)


def test_mean_iou_is_that_of_the_config():
    init_default_scope('mmseg')
    sample = SegDataSample()
    label = torch.tensor([[[0, 0, 1, 1]]])
    sample.set_data(dict(gt_sem_seg=PixelData(data=label)))
    case = SimpleNamespace(data_samples=[sample])
    mask = np.array([[0, 1, 1, 1]], np.uint8)
    cfg = Config(dict(test_evaluator=dict(type='DefectIoUMetric', prefix='p')))
    # background 1 / 2, the defect 2 / 3
    assert parity.mean_iou(cfg, CARD, [mask], [case]) == 58.33
    cfg.test_evaluator.exclude_background = True
    assert parity.mean_iou(cfg, CARD, [mask], [case]) == 66.67
    # MMSegmentation's own, where the config has none
    assert parity.mean_iou(Config(), CARD, [mask], [case]) == pytest.approx(58.33)


@pytest.mark.parametrize('resize', ['letterbox', 'keep_ratio', 'none'])
def test_the_reference_is_mmsegmentation(resize, tmp_path):
    from mmseg.apis import inference_model

    cfg = cases.make_config(resize, divisor=32 if resize == 'none' else None)
    network, _ = cases.make_network(cfg)
    images, labels = files.write_frames(tmp_path)
    samples = find_samples(cfg, images=[images], labels=labels)
    assert samples.labelled
    model = cases.make_segmentor(cfg)
    found = list(Reference(cfg, network).cases(samples))
    assert len(found) == 3
    for place, case in enumerate(found):
        wanted = inference_model(model, str(images / f'{place}.png'))
        assert np.array_equal(case.mask, wanted.pred_sem_seg.data[0].numpy())
        with torch.no_grad():
            logits = network(torch.from_numpy(case.image)).numpy()
        assert np.array_equal(case.logits, logits)
        label = case.data_samples[0].gt_sem_seg.data
        assert label.shape == (1, *files.SHAPES[place])
        # a mask of other logits is theirs
        assert not np.array_equal(
            Reference(cfg, network).mask(-case.logits, case), case.mask
        )


def test_frames_are_evenly_spread(tmp_path):
    images, _ = files.write_frames(tmp_path)
    samples = find_samples(Config(), images=[images], num=2)
    assert [Path(r['img_path']).name for r in samples.records] == ['0.png', '2.png']
    assert samples.source.endswith('2 of 3')
    assert len(find_samples(Config(), images=[images], num=0).records) == 3


def test_the_table_has_every_figure():
    console = Console(record=True, width=100)
    allowed = {'logits': 1e-4, 'equal': 0.9999, 'miou': 0.2}
    found = replace(GOOD, tolerance=allowed, synthetic=True)
    console.print(parity_table(found, 'title'))
    text = console.export_text()
    for word in (
        '5.0e-06',
        '1.0e-04',
        '100.0000%',
        '99.99%',
        '50.00',
        '49.90',
        'DRAWN',
    ):
        assert word in text
