"""LetterBox: geometry, labels, and its inverse in MMSegmentation's segmentors."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmcv.transforms import TestTimeAug as MultiView
from mmseg.datasets.transforms import PackSegInputs
from mmseg.models.segmentors import SegTTAModel
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.registry import TRANSFORMS
from PIL import Image

from fastsegformer_mm.datasets.transforms.letter_box import (
    LETTER_BOX_META_KEYS,
    LetterBox,
)

NUM_CLASSES = 4


def sample(label, **extra):
    """A pipeline's dict whose image shows the label: 60 times its value."""
    return dict(
        img=np.repeat(label[..., None] * 60, 3, -1).astype(np.uint8),
        gt_seg_map=label.astype(np.uint8), seg_fields=['gt_seg_map'],
        ori_shape=label.shape, img_shape=label.shape, **extra)


def blocks(height, width, side, seed=0):
    """Random labels in squares of ``side`` pixels."""
    shape = (-(-height // side), -(-width // side))
    coarse = np.random.default_rng(seed).integers(0, NUM_CLASSES, shape)
    return np.kron(coarse, np.ones((side, side), int))[:height, :width]


def predict(packed, align_corners=False):
    """What a segmentor makes of logits that are the packed labels, one-hot."""
    label = packed['data_samples'].gt_sem_seg.data[0].clone()
    label[label == 255] = 0
    logits = torch.nn.functional.one_hot(label, NUM_CLASSES)
    segmentor = SimpleNamespace(align_corners=align_corners)
    return BaseSegmentor.postprocess_result(
        segmentor, logits.permute(2, 0, 1)[None].float(), [packed['data_samples']])[0]


def pack(results):
    return PackSegInputs(meta_keys=LETTER_BOX_META_KEYS)(results)


def near_borders(label, reach=1):
    """Pixels within ``reach`` of another class."""
    size = 2 * reach + 1
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(label, reach, 'edge'), (size, size))
    return windows.min((2, 3)) != windows.max((2, 3))


def test_registered_and_meta_keys():
    assert TRANSFORMS.get('LetterBox') is LetterBox
    assert (*PackSegInputs().meta_keys, 'padding_size') == LETTER_BOX_META_KEYS


@pytest.mark.parametrize(('shape', 'size', 'new', 'padding'), [
    ((100, 200), (224, 224), (112, 224), [0, 0, 56, 56]),
    ((200, 100), (224, 224), (224, 112), [56, 56, 0, 0]),
    ((200, 200), (224, 224), (224, 224), [0, 0, 0, 0]),
    ((512, 512), (224, 320), (224, 224), [48, 48, 0, 0]),
    ((50, 101), (99, 99), (49, 99), [0, 0, 25, 25]),
    ((37, 23), (64, 65), (64, 40), [12, 13, 0, 0]),
    ((1, 1000), (32, 32), (1, 32), [0, 0, 15, 16]),
    # 115.5 exactly, which a float scale takes down
    ((330, 640), (224, 224), (116, 224), [0, 0, 54, 54]),
])
def test_geometry(shape, size, new, padding):
    results = LetterBox(size)(sample(np.ones(shape, int)))
    left, right, top, bottom = results['padding_size']
    assert [left, right, top, bottom] == padding
    assert results['img'].shape == (*size, 3)
    assert results['gt_seg_map'].shape == size
    assert results['img_shape'] == results['pad_shape'] == size
    assert results['scale'] == new[::-1]
    assert results['scale_factor'] == (new[1] / shape[1], new[0] / shape[0])
    assert results['ori_shape'] == shape
    inside = np.zeros(size, bool)
    inside[top:size[0] - bottom, left:size[1] - right] = True
    assert inside.sum() == new[0] * new[1]
    assert (results['img'][inside] == 60).all()
    assert (results['img'][~inside] == 128).all()
    assert (results['gt_seg_map'][inside] == 1).all()
    assert (results['gt_seg_map'][~inside] == 255).all()


def test_no_side_is_lost_to_rounding():
    # in floating point 224 / 205 * 205 is below 224
    for side in range(1, 600):
        results = LetterBox((224, 224))({'img': np.zeros((side, side), np.uint8)})
        assert results['scale'] == (224, 224)


def test_fill_values():
    results = LetterBox((20, 10), pad_val=7, seg_pad_val=0)(
        sample(np.ones((5, 5), int)))
    assert results['img'][0, 0].tolist() == [7, 7, 7]
    assert results['gt_seg_map'][0, 0] == 0


@pytest.mark.parametrize('shape', [(60, 90), (200, 150), (33, 71)])
def test_image_and_label_take_the_same_pixels(shape):
    """With the nearest pixel for both, the image shows the label exactly."""
    label = blocks(*shape, side=1)
    box = LetterBox((64, 64), interpolation='nearest', backend='pillow', pad_val=0)
    results = box(sample(label))
    shown = results['gt_seg_map'] != 255
    np.testing.assert_array_equal(
        results['img'][..., 0][shown], results['gt_seg_map'][shown] * 60)


@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
@pytest.mark.parametrize('shape', [(40, 60), (200, 240), (130, 130)])
def test_label_is_where_the_interpolated_image_is(shape, backend):
    """Image and labels hold coordinates: they agree to half a source pixel."""
    ys, xs = np.mgrid[:shape[0], :shape[1]].astype(np.uint8)
    results = LetterBox((64, 64), backend=backend)(
        {'img': np.stack([xs, ys, ys], -1), 'x': xs, 'y': ys, 'seg_fields': ['x', 'y']})
    left, right, top, bottom = results['padding_size']
    # two pixels from the edges, where the filters have less to average
    inside = (slice(top + 2, 64 - bottom - 2), slice(left + 2, 64 - right - 2))
    for channel, key in enumerate('xy'):
        image = results['img'][inside][..., channel].astype(int)
        label = results[key][inside].astype(int)
        assert np.abs(image - label).max() <= 1  # 0.5, and rounding to uint8


def test_official_resize():
    """The defaults are the official code's resize and paste."""
    img = np.random.default_rng(0).integers(0, 256, (75, 100, 3), np.uint8)
    results = LetterBox((32, 32))({'img': img})
    canvas = Image.new('RGB', (32, 32), (128, 128, 128))
    canvas.paste(Image.fromarray(img).resize((32, 24), Image.BICUBIC), (0, 4))
    np.testing.assert_array_equal(results['img'], np.asarray(canvas))
    other = LetterBox((32, 32), interpolation='bilinear', backend='cv2')
    other = other({'img': img})['img']
    assert (other != results['img']).any()


def test_float_images():
    img = np.full((5, 10, 3), 0.25, np.float32)
    out = LetterBox((10, 10), backend='cv2')({'img': img})['img']
    assert out.dtype == np.float32
    assert (out[3:7] == 0.25).all()
    assert (out[:2] == 128).all()
    with pytest.raises(TypeError, match=r"float32.*no path.*backend='cv2'"):
        LetterBox((10, 10))({'img': img})


@pytest.mark.parametrize(('shape', 'size', 'side', 'align_corners'), [
    ((20, 30), (60, 60), 1, False),  # twice as large
    ((20, 30), (60, 60), 1, True),
    ((20, 30), (91, 90), 1, False),  # three times, odd padding
    ((20, 30), (91, 90), 1, True),
    ((30, 30), (30, 30), 1, False),  # as it is
    ((30, 30), (30, 30), 1, True),
    # Half, odd padding. Aligned corners put the pixels of the image half-way between
    # the network's, where three of another class outvote the nearest.
    ((60, 40), (30, 27), 2, False),
])
def test_round_trip_is_exact_at_whole_scales(shape, size, side, align_corners):
    label = blocks(*shape, side)
    packed = pack(LetterBox(size)(sample(label)))
    result = predict(packed, align_corners)
    assert result.seg_logits.data.shape == (NUM_CLASSES, *shape)
    np.testing.assert_array_equal(result.pred_sem_seg.data[0].numpy(), label)


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize(('shape', 'size'), [
    ((77, 101), (224, 224)), ((101, 77), (64, 63)), ((333, 200), (224, 224)),
    ((40, 40), (61, 61)), ((60, 40), (30, 27)),
])
def test_round_trip_errs_at_borders_of_classes_only(shape, size, align_corners):
    label = blocks(*shape, side=12)
    result = predict(pack(LetterBox(size)(sample(label))), align_corners)
    predicted = result.pred_sem_seg.data[0].numpy()
    # a network pixel covers this many pixels of the image, more or less half of one
    reach = int(np.ceil(max(1, max(shape) / max(size))))
    wrong = predicted != label
    assert not (wrong & ~near_borders(label, reach)).any()
    assert wrong.mean() < 0.15


def test_round_trip_without_padding_size_would_be_wrong():
    """Why the meta key is needed."""
    label = blocks(20, 30, 1)
    packed = PackSegInputs()(LetterBox((60, 60))(sample(label)))
    assert (predict(packed).pred_sem_seg.data[0].numpy() != label).mean() > 0.3


@pytest.mark.parametrize('direction', ['horizontal', 'vertical'])
def test_round_trip_in_test_time_augmentation(direction):
    """Flips before the letterbox are undone exactly, odd padding or not."""
    label = blocks(20, 30, 1)
    flip = {'type': 'mmseg.RandomFlip', 'direction': direction}
    flips = [TRANSFORMS.build({**flip, 'prob': p}) for p in (0.0, 1.0)]
    views = MultiView([
        flips, [LetterBox((61, 61)), LetterBox((93, 90))],
        [PackSegInputs(meta_keys=LETTER_BOX_META_KEYS)]])(sample(label))
    samples = views['data_samples']
    assert [s.flip for s in samples] == [False, False, True, True]
    assert (samples[0].gt_sem_seg.data != samples[2].gt_sem_seg.data).any()
    predictions = [predict({'data_samples': s}) for s in samples]
    for prediction in predictions:
        np.testing.assert_array_equal(prediction.pred_sem_seg.data[0].numpy(), label)
    for prediction in predictions:
        prediction.set_metainfo({'img_path': 'a.jpg'})
    model = SimpleNamespace(module=SimpleNamespace(out_channels=NUM_CLASSES))
    merged = SegTTAModel.merge_preds(model, [predictions])[0]
    np.testing.assert_array_equal(merged.pred_sem_seg.data[0].numpy(), label)


def test_labels_loaded_afterwards_keep_their_size(tmp_path):
    label = blocks(20, 30, 1).astype(np.uint8)
    Image.fromarray(label).save(tmp_path / 'a.png')
    Image.fromarray(label * 60).convert('RGB').save(tmp_path / 'a.jpg')
    results = {'img_path': str(tmp_path / 'a.jpg'), 'seg_fields': [],
                   'seg_map_path': str(tmp_path / 'a.png'), 'reduce_zero_label': False}
    for step in ({'type': 'LoadImageFromFile'}, LetterBox((60, 60)),
                 {'type': 'mmseg.LoadAnnotations'}):
        step = TRANSFORMS.build(step) if isinstance(step, dict) else step
        results = step(results)
    packed = pack(results)
    assert packed['inputs'].shape == (3, 60, 60)
    np.testing.assert_array_equal(
        packed['data_samples'].gt_sem_seg.data[0].numpy(), label)
    segmentor = SimpleNamespace(align_corners=False)
    result = BaseSegmentor.postprocess_result(
        segmentor, torch.zeros(1, NUM_CLASSES, 60, 60), [packed['data_samples']])[0]
    assert result.pred_sem_seg.data.shape == result.gt_sem_seg.data.shape


@pytest.mark.parametrize('size', [224, (224,), (0, 224), (224.0, 224), None])
def test_bad_size(size):
    with pytest.raises(ValueError, match=r'expected \(height, width\)'):
        LetterBox(size)


def test_repr_builds_the_same():
    box = LetterBox([20, 30], 7, 0, 'bilinear', 'cv2')
    assert repr(eval(repr(box))) == repr(box)
    assert repr(box) == ("LetterBox(size=(20, 30), pad_val=7, seg_pad_val=0, "
                         "interpolation='bilinear', backend='cv2')")
