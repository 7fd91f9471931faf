"""One segmentor on all runtimes, with MMSegmentation's masks."""

import dataclasses
import runpy
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import openvino as ov
import pytest
import torch
from mmseg.apis import inference_model

from fastsegformer_mm.deploy import DefectSegmentor, Segmentation, segmentor
from fastsegformer_mm.deploy.errors import DeployError

CASES = Path(__file__).with_name('segmentor_cases.py')
cases = SimpleNamespace(**runpy.run_path(str(CASES)))
RUNTIMES = ['torch', 'onnxruntime', 'openvino']


@pytest.fixture(scope='module')
def model():
    _network, card = cases.make_network()
    return cases.small_network(), card


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """Config file and checkpoint of one network with random statistics."""
    folder = tmp_path_factory.mktemp('trained')
    cfg = cases.make_config()
    cfg.dump(folder / 'tiny.py')
    meta = dict(
        dataset_meta=dict(
            classes=('sound', 'a', 'b', 'c'), palette=[[0, 0, 0]] + [[9, 9, 9]] * 3
        )
    )
    weights = cases.make_segmentor(cfg).state_dict()
    torch.save(dict(state_dict=weights, meta=meta), folder / 'best.pth')
    return str(folder / 'tiny.py'), str(folder / 'best.pth')


class TestAsMMSegmentation:
    @pytest.mark.parametrize(
        ('resize', 'corners', 'classes', 'divisor', 'shape'),
        [
            ('letterbox', True, 4, None, (48, 64)),
            ('letterbox', False, 4, None, (64, 31)),
            ('letterbox_cv2', True, 4, None, (97, 130)),
            ('letterbox_cv2', False, 3, None, (31, 20)),
            ('letterbox_cv2', True, 1, None, (97, 130)),
            ('stretch', True, 2, None, (97, 130)),
            ('stretch', False, 1, None, (97, 130)),
            ('keep_ratio', False, 3, 32, (97, 130)),
            ('none', True, 4, 32, (97, 130)),
            ('none', False, 4, None, (80, 72)),
        ],
    )
    def test_every_pixel(self, resize, corners, classes, divisor, shape):
        cfg = cases.make_config(resize, corners, classes, divisor)
        frame = cases.frame(*shape)
        result = inference_model(cases.make_segmentor(cfg), frame)
        expected = result.pred_sem_seg.data[0].numpy()
        with DefectSegmentor(cases.make_network(cfg), 'torch', 'cpu') as segmentor:
            mask = segmentor(frame).mask
        assert mask.shape == shape
        assert len(np.unique(expected)) > 1
        differ = mask != expected
        scores = result.seg_logits.data
        if len(scores) > 1:
            best = scores.topk(2, dim=0).values
            assert (best[0] - best[1]).numpy()[differ].max(initial=0) < 1e-4
        else:
            assert (scores[0] - 0.4).abs().numpy()[differ].max(initial=0) < 1e-5
        assert differ.sum() <= 2

    def test_bicubic_letterbox(self):
        # Pillow's and PyTorch's filters differ by one grey level here and there
        cfg = cases.make_config('letterbox')
        frame = cases.frame(200, 301)
        result = inference_model(cases.make_segmentor(cfg), frame)
        with DefectSegmentor(cases.make_network(cfg), 'torch', 'cpu') as segmentor:
            mask = segmentor(frame).mask
        assert (mask != result.pred_sem_seg.data[0].numpy()).mean() < 5e-3


class TestRuntimes:
    @pytest.fixture(scope='class')
    def masks(self, model):
        frames = [cases.frame(seed=k) for k in range(2)]
        with DefectSegmentor(model, 'torch', 'cpu') as segmentor:
            return frames, [found.mask for found in segmentor(frames)]

    @pytest.mark.parametrize('backend', RUNTIMES[1:])
    def test_same_masks(self, model, masks, backend):
        frames, expected = masks
        with DefectSegmentor(model, backend, 'cpu', threads=1) as segmentor:
            for found, mask in zip(segmentor(frames), expected):
                assert (found.mask != mask).sum() <= 2
                assert len(np.unique(mask)) > 1

    @pytest.mark.parametrize('backend', RUNTIMES)
    def test_frames_of_any_size(self, model, backend):
        network, card = model
        card = dataclasses.replace(card, resize='none', size_divisor=8)
        frames = [cases.frame(40, 61), cases.frame(64, 64), cases.frame(40, 61, seed=1)]
        with DefectSegmentor((network, card), 'torch', 'cpu') as reference:
            expected = [found.mask for found in reference(frames)]
        with DefectSegmentor((network, card), backend, 'cpu') as segmentor:
            for found, mask in zip(segmentor(frames), expected):
                assert found.mask.shape == mask.shape
                assert (found.mask != mask).sum() <= 2

    @pytest.mark.parametrize('backend', RUNTIMES)
    def test_from_config_and_checkpoint(self, checkpoint, backend):
        config, weights = checkpoint
        frame = cases.frame(64, 48)
        result = inference_model(cases.make_segmentor(cases.make_config()), frame)
        with DefectSegmentor(config, backend, 'cpu', checkpoint=weights) as segmentor:
            mask = segmentor(frame).mask
            described = segmentor.describe()
        assert (mask != result.pred_sem_seg.data[0].numpy()).mean() < 5e-3
        assert described['model'] == 'tiny'
        assert described['checkpoint'] == 'best.pth'
        assert described['random_weights'] is False
        assert segmentor.card.classes == ('sound', 'a', 'b', 'c')

    def test_deploy_form_but_for_the_reference(self, monkeypatch, checkpoint):
        config, weights = checkpoint
        formed = []
        monkeypatch.setattr(
            segmentor, 'reparameterize', lambda net, **_: formed.append(net) or net
        )
        for backend, count in (('torch', 0), ('onnxruntime', 1)):
            DefectSegmentor(config, backend, 'cpu', checkpoint=weights).close()
            assert len(formed) == count

    def test_options_of_the_config(self, checkpoint):
        config, weights = checkpoint
        options = {'model.data_preprocessor.mean': [1.0, 2.0, 3.0]}
        with DefectSegmentor(
            config, 'torch', 'cpu', checkpoint=weights, cfg_options=options
        ) as segmentor:
            assert segmentor.card.mean == (1.0, 2.0, 3.0)


class TestCalls:
    @pytest.fixture(scope='class')
    def segmentor(self, model):
        with DefectSegmentor(model, 'openvino', 'cpu', threads=1) as segmentor:
            yield segmentor

    def test_one_a_list_a_tuple(self, segmentor):
        frames = [cases.frame(seed=k) for k in range(3)]
        one = segmentor(frames[0])
        assert isinstance(one, Segmentation)
        assert one.card is segmentor.card
        for several in (segmentor(frames), segmentor(tuple(frames))):
            assert isinstance(several, list)
            assert len(several) == 3
            assert np.array_equal(several[0].mask, one.mask)
            assert not np.array_equal(several[1].mask, one.mask)
        assert segmentor([]) == []

    def test_generator_takes_a_frame_when_asked(self, segmentor):
        taken = []

        def frames():
            for k in range(3):
                taken.append(k)
                yield cases.frame(seed=k)

        results = segmentor(frames())
        assert taken == []
        first = next(results)
        assert taken == [0]
        kept = first.mask.copy()
        assert len(list(results)) == 2
        assert np.array_equal(first.mask, kept)

    def test_stages_are_what_segment_does(self, segmentor):
        frame = cases.frame()
        image, where = segmentor.preprocess(frame)
        mask = segmentor.postprocess(segmentor.backend(image), where)
        assert np.array_equal(mask, segmentor.segment(frame).mask)

    def test_seconds(self, segmentor):
        start = time.perf_counter()
        seconds = segmentor(cases.frame()).seconds
        total = time.perf_counter() - start
        assert list(seconds) == ['preprocess', 'network', 'postprocess']
        assert min(seconds.values()) > 0
        assert sum(seconds.values()) <= total

    def test_threads_wait_for_each_other(self, segmentor):
        frames = [cases.frame(seed=k) for k in range(3)]
        expected = [found.mask for found in segmentor(frames)]
        wrong = []

        def work(k):
            for _ in range(10):
                if not np.array_equal(segmentor(frames[k]).mask, expected[k]):
                    wrong.append(k)

        threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []

    @pytest.mark.parametrize('frames', ['orange.jpg', None, 3, torch.zeros(2, 2, 3)])
    def test_no_frames(self, segmentor, frames):
        expected = f'a frame is {type(frames).__name__}; expected a NumPy array'
        with pytest.raises(DeployError, match=expected):
            segmentor(frames)

    def test_described(self, segmentor):
        assert segmentor.describe() == {
            'model': segmentor.card.name,
            'checkpoint': '',
            'sha256': '',
            'random_weights': True,
            'backend': 'openvino',
            'device': 'cpu',
            'precision': 'fp32',
            'threads': 1,
            'streams': 1,
            'overlap': False,
            'versions': {'openvino': ov.__version__},
        }


class TestThreadPools:
    @pytest.fixture(autouse=True)
    def two_threads(self):
        before = torch.get_num_threads(), cv2.getNumThreads()
        torch.set_num_threads(2)
        cv2.setNumThreads(2)
        yield
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])

    @staticmethod
    def pools():
        return torch.get_num_threads(), cv2.getNumThreads()

    def test_one_each_beside_a_runtime(self, model):
        with DefectSegmentor(model, 'openvino', 'cpu') as segmentor:
            assert self.pools() == (1, 1)
            torch.set_num_threads(2)
            cv2.setNumThreads(2)
            segmentor(cases.frame())
            assert self.pools() == (1, 1)
        assert self.pools() == (2, 2)

    def test_pytorch_as_the_runtime(self, model):
        with DefectSegmentor(model, 'torch', 'cpu', threads=3) as segmentor:
            assert self.pools() == (3, 1)
            assert segmentor.describe()['threads'] == 3
        with DefectSegmentor(model, 'torch', 'cpu') as segmentor:
            assert self.pools() == (2, 1)
        assert self.pools() == (2, 2)

    def test_several(self, model):
        first = DefectSegmentor(model, 'openvino', 'cpu')
        second = DefectSegmentor(model, 'torch', 'cpu')
        assert self.pools() == (2, 1)
        first(cases.frame())
        assert self.pools() == (1, 1)
        second(cases.frame())
        assert self.pools() == (2, 1)
        second.close()
        second.close()
        assert cv2.getNumThreads() == 1
        first.close()
        assert self.pools() == (2, 2)

    def test_forgotten(self, model):
        segmentor = DefectSegmentor(model, 'torch', 'cpu', threads=1)
        assert self.pools() == (1, 1)
        del segmentor
        assert self.pools() == (2, 2)

    def test_not_made(self, model):
        with pytest.raises(DeployError) as raised:
            DefectSegmentor(model, 'torch', 'cpu', precision='fp16')
        # at once, though the error's frames still hold what was made
        assert self.pools() == (2, 2)
        assert "precision='fp16'" in str(raised.value)


def test_closed(model):
    segmentor = DefectSegmentor(model, 'torch', 'cpu')
    segmentor.close()
    with pytest.raises(DeployError, match='has been closed; make a new one'):
        segmentor(cases.frame())
