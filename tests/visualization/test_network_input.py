import numpy as np
import pytest
import torch
from mmengine import Config
from mmengine.registry import init_default_scope
from PIL import Image

from fastsegformer_mm.visualization import NetworkFeed

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
PREPROCESSOR = dict(
    type='SegDataPreProcessor', mean=[100., 110., 120.], std=[50., 60., 70.],
    bgr_to_rgb=True, size_divisor=32, pad_val=0, seg_pad_val=255)


@pytest.fixture
def folder(tmp_path):
    for name in ('img', 'ann'):
        (tmp_path / name).mkdir()
    rng = np.random.default_rng(0)
    for k in range(3):
        # a red image, 48 wide and 32 high, whose left half is of class 1
        pixels = np.zeros((32, 48, 3), np.uint8)
        pixels[..., 0] = 200
        pixels[..., 2] = rng.integers(0, 50, (32, 48))
        Image.fromarray(pixels).save(tmp_path / 'img' / f'{k}.png')
        label = np.zeros((32, 48), np.uint8)
        label[:, :24] = 1
        Image.fromarray(label).save(tmp_path / 'ann' / f'{k}.png')
    return tmp_path


@pytest.fixture
def feed(folder):
    def build(steps=(), split='train', model=None, loading=tuple(LOAD), pack=None,
              **dataset):
        init_default_scope('mmseg')
        cfg = Config({f'{split}_dataloader': dict(dataset=dict(
            type='BaseSegDataset', data_root=str(folder), img_suffix='.png',
            # the collection of garbage that goes with it takes long
            serialize_data=False,
            data_prefix=dict(img_path='img', seg_map_path='ann'),
            metainfo=dict(classes=('no', 'yes'), palette=[[0, 0, 0], [0, 200, 0]]),
            pipeline=[*loading, *steps, pack or dict(type='PackSegInputs')],
            **dataset)), 'model': model or dict(data_preprocessor=PREPROCESSOR)})
        return NetworkFeed(cfg, split)
    return build


def test_tensor_is_what_the_preprocessor_makes_of_it(feed):
    seen = feed().get(1)
    assert seen.path.endswith('1.png')
    assert seen.tensor.shape == (3, 32, 64)
    # red first, normalised; the width is padded to a multiple of 32
    assert torch.all(seen.tensor[0, :, :48] == 2)
    assert seen.tensor[1, 0, 0].item() == pytest.approx(-110 / 60)
    assert seen.padding == (0, 16, 0, 0)
    assert (seen.picture[:, :48, 0] == 200).all()
    assert (seen.picture[:, :48, 1] == 0).all()
    # normalised zero is the mean
    assert (seen.picture[:, 48:] == (100, 110, 120)).all()
    assert (seen.label[:, :24] == 1).all()
    assert (seen.label[:, 24:48] == 0).all()
    assert (seen.label[:, 48:] == 255).all()
    assert seen.meta['ori_shape'] == (32, 48)
    assert seen.student is None


def test_channel_order_is_undone_for_the_eye_only(feed):
    plain = dict(PREPROCESSOR, bgr_to_rgb=False, mean=None, std=None)
    kept = feed(model=dict(data_preprocessor=plain))
    assert kept.channels == 'BGR'
    assert kept.description == 'BGR, not normalised'
    seen = kept.get(0)
    assert torch.all(seen.tensor[2, :, :48] == 200)
    assert (seen.picture[:, :48, 0] == 200).all()
    assert (seen.picture[:, 48:] == 0).all()
    assert feed().description == 'RGB, (x - [100, 110, 120]) / [50, 60, 70]'
    # without a data preprocessor nothing is padded
    bare = feed(model=dict(type='EncoderDecoder'))
    assert bare.get(0).picture.shape == (32, 48, 3)
    assert bare.get(0).padding == (0, 0, 0, 0)


def test_a_test_pipeline_keeps_the_label_and_says_its_padding(feed):
    size = dict(type='LetterBox', size=(64, 64), pad_val=7)
    pack = dict(type='PackSegInputs', meta_keys=('ori_shape', 'padding_size'))
    seen = feed([LOAD[0], size, LOAD[1]], 'test', loading=(), pack=pack).get(0)
    assert seen.label.shape == (32, 48)
    top = (64 - 43) // 2
    assert seen.padding == (0, 0, top, 64 - 43 - top)
    assert (seen.picture[:top] == 7).all()
    assert abs(int(seen.picture[top, 0, 0]) - 200) <= 1
    # the data preprocessor's own padding of test images adds to it
    padded = feed(split='val', model=dict(data_preprocessor=dict(
        PREPROCESSOR, test_cfg=dict(size=(40, 80))))).get(0)
    assert padded.tensor.shape == (3, 40, 80)
    assert padded.padding == (0, 32, 0, 8)


def test_random_choices_follow_seed_index_and_repeat(feed):
    jitter = dict(type='RandomScalePaste', size=(32, 32))
    flip = dict(type='RandomFlip', prob=0.5)
    augmented = feed([jitter, flip])
    first = augmented.get(0, seed=3, repeat=1)
    torch.rand(5)
    # whatever was drawn before
    augmented.get(2, seed=9)
    again = feed([jitter, flip]).get(0, seed=3, repeat=1)
    assert torch.equal(first.tensor, again.tensor)
    assert (first.label == again.label).all()
    for other in (dict(seed=4, repeat=1), dict(seed=3, repeat=2)):
        assert not torch.equal(first.tensor, augmented.get(0, **other).tensor)
    flips = {augmented.get(0, repeat=k).meta['flip'] for k in range(8)}
    assert flips == {True, False}


def test_student_sees_the_batch_smaller(feed):
    model = dict(student_size=16, architecture=dict(
        data_preprocessor=PREPROCESSOR, decode_head=dict(ignore_index=9)))
    distilled = feed(model=model)
    assert distilled.ignore_index == 9
    student = distilled.get(0).student
    assert student.shape == (16, 16, 3)
    assert (student[:, 0, 0] == 200).all()
    assert (student[:, -1] == (100, 110, 120)).all()
    assert (feed(model=dict(model, student_size=(8, 24))).get(0).student.shape
            == (8, 24, 3))
    # the student is tested alone
    assert feed(model=model, split='test').get(0).student is None


def test_student_of_a_config_file(feed, tmp_path):
    file = tmp_path / 'student.py'
    file.write_text('model = dict(data_preprocessor=dict('
                    "type='SegDataPreProcessor', rgb_to_bgr=True, size=(40, 50)))")
    built = feed(model=dict(architecture=str(file)))
    assert built.channels == 'RGB'
    assert built.get(0).padding == (0, 2, 0, 8)


def test_ignore_index_is_that_of_the_loss(feed):
    assert feed().ignore_index == 255
    heads = [dict(ignore_index=7), dict(ignore_index=8)]
    assert feed(model=dict(
        data_preprocessor=PREPROCESSOR, decode_head=heads)).ignore_index == 7


def test_wrong_configs_and_files_are_named(feed, folder):
    with pytest.raises(ValueError, match=r'no test_dataloader, .*\(train\).*--split'):
        NetworkFeed(Config({'train_dataloader': dict(a=1)}), 'test')
    with pytest.raises(ValueError, match='it has none'):
        NetworkFeed(Config({}), 'test')
    assert len(feed()) == 3
    Image.fromarray(np.zeros((32, 48, 3), np.uint8)).save(folder / 'ann' / '0.png')
    with pytest.raises(ValueError, match=r'0\.png.*\(3[02], .*color_masks_to_index'):
        feed(split='test').get(0)
    (folder / 'img' / '1.png').write_bytes(b'<html>')
    with pytest.raises(ValueError, match=r'1\.png does not pass the pipeline'):
        feed().get(1)
    with pytest.raises(ValueError, match='expected one tensor'):
        feed(pack=dict(type='Resize', scale=(8, 8))).get(2)


def test_classes_need_colours(feed):
    with pytest.raises(ValueError, match='0 class names and 0 colours'):
        NetworkFeed(Config({'train_dataloader': dict(dataset=dict(
            type='BaseSegDataset', lazy_init=True))}), 'train')
