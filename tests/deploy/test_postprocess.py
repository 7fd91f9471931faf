"""Logits into masks: MMSegmentation's labels on every pixel."""

import threading

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fastsegformer_mm.deploy import ModelCard, postprocess
from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.frames import Placement
from fastsegformer_mm.deploy.postprocess import MasksAsTheyAre, Postprocess


def make_card(classes=4, **changes):
    names = tuple(f'class {k}' for k in range(classes))
    return ModelCard('my', names, ((0, 0, 0),) * classes, (32, 32), **changes)


def make_logits(classes, height=32, width=32, seed=0, scale=8):
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, scale, (1, classes, height // 4, width // 4))
    logits = F.interpolate(torch.tensor(coarse), (height, width), mode='bicubic')
    return np.float32(logits.numpy() + rng.normal(0, scale / 8, logits.shape))


def whole(frame, size=(32, 32)):
    return Placement(frame, size, 0, 0, size)


def resized(logits, where, card):
    """What MMSegmentation compares: (C, H, W)."""
    inside = logits[
        ...,
        where.top : where.top + where.size[0],
        where.left : where.left + where.size[1],
    ]
    return F.interpolate(
        torch.from_numpy(inside),
        where.frame,
        mode='bilinear',
        align_corners=card.align_corners,
    )[0]


def check(logits, where, card):
    """All pixels as MMSegmentation's, but for ties to the last digits."""
    mask = Postprocess(card)(logits, where)
    planes = resized(logits, where, card)
    if len(planes) == 1:
        expected = planes[0].sigmoid() > card.threshold
        bound = np.log(card.threshold / (1 - card.threshold))
        margin = (planes[0] - bound).abs()
    else:
        expected = planes.argmax(0)
        best = planes.topk(2, dim=0).values
        margin = best[0] - best[1]
    differ = mask != expected.numpy()
    assert mask.shape == where.frame
    assert mask.dtype == np.uint8
    assert margin.numpy()[differ].max(initial=0) < 1e-4 * np.abs(logits).max()
    assert differ.sum() <= 1e-3 * differ.size
    assert len(np.unique(mask)) > 1
    return mask


class TestAsMMSegmentation:
    @pytest.mark.parametrize('corners', [True, False])
    @pytest.mark.parametrize('classes', [2, 3, 4, 5, 6, 7, 8, 10, 19])
    def test_classes(self, classes, corners):
        card = make_card(classes, align_corners=corners)
        mask = check(make_logits(classes), whole((75, 90)), card)
        assert set(np.unique(mask)) == set(range(classes))

    @pytest.mark.parametrize('corners', [True, False])
    @pytest.mark.parametrize(
        'frame', [(32, 32), (64, 64), (17, 90), (20, 21), (1, 50), (50, 1), (301, 200)]
    )
    def test_frames(self, frame, corners):
        check(make_logits(4), whole(frame), make_card(4, align_corners=corners))

    @pytest.mark.parametrize('corners', [True, False])
    @pytest.mark.parametrize('threshold', [0.3, 0.5, 0.9])
    def test_threshold(self, threshold, corners):
        card = make_card(2, threshold=threshold, align_corners=corners)
        check(make_logits(1), whole((75, 90)), card)

    @pytest.mark.parametrize('corners', [True, False])
    @pytest.mark.parametrize(
        ('size', 'top', 'left'), [((20, 32), 6, 0), ((32, 9), 0, 11), ((1, 32), 15, 0)]
    )
    def test_margins_are_cut_off_first(self, size, top, left, corners):
        logits = make_logits(4)
        where = Placement((70, 90), size, top, left, (32, 32))
        card = make_card(4, align_corners=corners)
        mask = check(logits, where, card)
        logits[:, :, : where.top] = 1e6
        logits[..., : where.left] = -1e6
        assert np.array_equal(Postprocess(card)(logits, where), mask)

    @pytest.mark.parametrize('corners', [True, False])
    @pytest.mark.parametrize('strip', [1, 700, 100_000])
    def test_strips(self, monkeypatch, strip, corners):
        monkeypatch.setattr(postprocess, 'STRIP', strip)
        check(make_logits(5), whole((75, 90)), make_card(5, align_corners=corners))

    def test_labels_before_resizing_would_be_wrong(self):
        logits = make_logits(4)
        mask = Postprocess(make_card(4))(logits, whole((128, 128)))
        early = logits[0].argmax(0).repeat(4, 0).repeat(4, 1)
        assert (mask != early).mean() > 0.02

    def test_first_of_equals(self):
        logits = np.zeros((1, 4, 32, 32), np.float32)
        logits[:, 1:3, :, 16:] = 5
        mask = Postprocess(make_card(4, align_corners=False))(logits, whole((64, 64)))
        assert mask[:, :20].max() == 0
        assert set(np.unique(mask[:, 40:])) == {1}

    @pytest.mark.parametrize(('threshold', 'label'), [(0.0, 1), (1.0, 0)])
    def test_thresholds_at_the_ends(self, threshold, label):
        logits = 5 * make_logits(1)
        mask = Postprocess(make_card(2, threshold=threshold))(logits, whole((40, 40)))
        assert set(np.unique(mask)) == {label}


class TestWhereNeighboursDiffer:
    @pytest.fixture
    def warped(self, monkeypatch):
        """Shapes of all that was resized."""
        shapes = []
        warp = postprocess._warp

        def note(image, inverse, out):
            shapes.append(out.shape[:2])
            warp(image, inverse, out)

        if not postprocess.warps_exactly():
            pytest.skip('OpenCV before 5 rounds positions; PyTorch resizes all')
        monkeypatch.setattr(postprocess, '_warp', note)
        return shapes

    @staticmethod
    def spots(places, classes=4, size=(32, 32)):
        """Background, and one pixel of class 1 at each place."""
        logits = np.full((1, classes, *size), -5, np.float32)
        logits[:, 0] = 5
        for row, column in places:
            logits[:, :2, row, column] = [[-6, 9]]
        return logits

    @pytest.mark.parametrize('corners', [True, False])
    @pytest.mark.parametrize(
        'places',
        [
            [(0, 0)], [(31, 31)], [(0, 31)], [(31, 0)], [(15, 16)],
            [(3, 9), (20, 22)], [(0, 4), (31, 4)], [(7, 0), (7, 31)],
        ],
    )  # fmt: skip
    @pytest.mark.parametrize('frame', [(128, 128), (200, 90), (33, 70), (40, 40)])
    def test_spots(self, monkeypatch, places, frame, corners):
        monkeypatch.setattr(postprocess, 'STRIP', 2000)
        check(self.spots(places), whole(frame), make_card(align_corners=corners))

    def test_only_there_is_resized(self, warped):
        mask = check(self.spots([(15, 16)]), whole((512, 512)), make_card())
        assert 0 < (mask == 1).sum() < 32 * 32
        assert warped
        # 2 x 2 cells of 16.5 pixels each way, and a few beyond
        assert sum(h * w for h, w in warped) < 42 * 42

    def test_nothing_of_one_class(self, warped):
        logits = self.spots([])
        logits[:, 2] = 7 + np.random.default_rng(0).random((32, 32))
        assert set(np.unique(Postprocess(make_card())(logits, whole((70, 90))))) == {2}
        assert warped == []

    @pytest.mark.parametrize('seed', range(80))
    def test_any_shapes(self, monkeypatch, seed):
        rng = np.random.default_rng(seed)
        monkeypatch.setattr(postprocess, 'STRIP', int(rng.integers(1, 5000)))
        size = tuple(int(side) for side in rng.integers(1, 40, 2))
        frame = tuple(int(side) for side in rng.integers(1, 160, 2))
        classes = int(rng.integers(1, 8))
        logits = self.spots([], max(classes, 2), size)[:, :classes]
        for _ in range(3):
            row, column = (rng.integers(side) for side in size)
            logits[:, :, row : row + 4, column : column + 4] *= -rng.random(
                (classes, 1, 1)
            )
        logits += rng.normal(0, 0.05, logits.shape)
        corners = bool(rng.integers(2))
        card = make_card(max(classes, 2), align_corners=corners, threshold=0.5)
        mask = Postprocess(card)(logits, whole(frame, size))
        planes = resized(logits, whole(frame, size), card)
        if classes == 1:
            planes = torch.cat([torch.zeros_like(planes), planes])
        best = planes.topk(2, dim=0)
        differ = mask != best.indices[0].numpy()
        assert (best.values[0] - best.values[1]).numpy()[differ].max(initial=0) < 1e-4


class TestArrays:
    def test_tensors_and_half_precision(self):
        logits, where = make_logits(4), whole((75, 90))
        call = Postprocess(make_card(4))
        expected = call(logits, where)
        assert np.array_equal(call(torch.from_numpy(logits), where), expected)
        coarse = call(logits.astype(np.float16), where)
        assert 0.98 < (coarse == expected).mean() <= 1
        coarse = call(torch.from_numpy(logits).bfloat16(), where)
        assert 0.9 < (coarse == expected).mean() <= 1

    def test_logits_stay_as_they_are(self):
        logits = make_logits(2)
        before = logits.copy()
        Postprocess(make_card(2))(logits, whole((75, 90)))
        assert np.array_equal(logits, before)

    def test_masks_are_the_callers(self):
        call = Postprocess(make_card(4))
        first = call(make_logits(4), whole((75, 90)))
        kept = first.copy()
        call(make_logits(4, seed=1), whole((75, 90)))
        assert np.array_equal(first, kept)

    def test_threads_do_not_share_buffers(self):
        call = Postprocess(make_card(4))
        logits = [make_logits(4, seed=k) for k in range(3)]
        where = whole((150, 160))
        expected = [call(x, where) for x in logits]
        wrong = []

        def work(k):
            for _ in range(20):
                if not np.array_equal(call(logits[k], where), expected[k]):
                    wrong.append(k)

        threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []

    def test_buffers_are_kept(self):
        call = Postprocess(make_card(4))
        logits, where = make_logits(4), whole((75, 90))
        call(logits, where)
        held = {k: v.ctypes.data for k, v in vars(call._scratch).items()}
        call(logits, where)
        assert {k: v.ctypes.data for k, v in vars(call._scratch).items()} == held
        assert len(held) == (6 if postprocess.warps_exactly() else 2)


@pytest.mark.filterwarnings('error')  # how it resizes is no news for a user
class TestOlderOpenCV:
    def test_this_one_is_exact(self):
        major = int(cv2.__version__.split('.')[0])
        assert postprocess.warps_exactly.__wrapped__() is (major >= 5)

    def test_positions_rounded_are_noticed(self, monkeypatch):
        def coarse(image, inverse, out):
            out[:] = 0.5

        monkeypatch.setattr(postprocess, '_warp', coarse)
        assert postprocess.warps_exactly.__wrapped__() is False

    @pytest.mark.parametrize('corners', [True, False])
    @pytest.mark.parametrize('classes', [1, 2, 5])
    def test_pytorch_resizes_then(self, monkeypatch, classes, corners):
        def forbidden(*args):
            raise AssertionError('warped')

        monkeypatch.setattr(postprocess, 'warps_exactly', lambda: False)
        monkeypatch.setattr(postprocess, '_warp', forbidden)
        card = make_card(
            max(classes, 2),
            align_corners=corners,
            threshold=0.4 if classes == 1 else None,
        )
        check(make_logits(classes), whole((75, 90)), card)


def test_more_classes_than_a_byte_has():
    assert Postprocess(make_card(256)).card.classes[-1] == 'class 255'
    with pytest.raises(DeployError, match='my has 257 classes; expected 256 at most'):
        Postprocess(make_card(257))


def test_masks_as_they_are():
    masks = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    mask = MasksAsTheyAre(make_card())(masks, whole((2, 3)))
    masks[:] = 0
    assert mask.tolist() == [[0, 1, 2], [3, 4, 5]]
