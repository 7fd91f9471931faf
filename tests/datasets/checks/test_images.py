"""Images: broken files, and files that the loader makes something else of."""

import io
import runpy
from pathlib import Path

import cv2
import mmcv
import numpy as np
import pytest
from PIL import Image

from fastsegformer_mm.datasets.checks import check_dataset

tiny = runpy.run_path(str(Path(__file__).with_name('tiny_set.py')))
add, config, make, photo, stripes = (
    tiny[k] for k in ('add', 'config', 'make', 'photo', 'stripes'))


def check(root, **loader):
    """Problems of the training split, its LoadImageFromFile having these options."""
    cfg = config(root)
    cfg.train_dataloader.dataset.pipeline[0].update(loader)
    return check_dataset(cfg, ['train']).problems


def brief(problems):
    return [(p.kind, p.severity, p.file, p.value) for p in problems]


def replace(root, data, name='train0'):
    """Put other content in the place of an image."""
    path = root / f'images/train/{name}.jpg'
    path.write_bytes(data)
    return str(path)


def encoded(picture, kind='PNG', **options):
    data = io.BytesIO()
    picture.save(data, kind, **options)
    return data.getvalue()


@pytest.fixture
def root(tmp_path):
    return make(tmp_path, splits=['train'])


def test_empty_file(root):
    path = replace(root, b'')
    [problem] = check(root)
    assert brief([problem]) == [('empty-file', 'error', path, '0 bytes')]
    assert problem.expected == 'a picture'
    assert 'put an intact copy there' in problem.way_out


@pytest.mark.parametrize('kind', ['JPEG', 'PNG'])
@pytest.mark.parametrize('kept', [.9, .98])
def test_truncated_file(root, kind, kept):
    data = encoded(photo('a'), kind)
    data = data[:int(kept * len(data))]
    path = replace(root, data)
    [problem] = check(root)
    assert (problem.kind, problem.severity, problem.file) == (
        'undecodable-file', 'error', path)
    assert problem.value.startswith(f'{len(data)} bytes, ')
    assert 'truncated' in problem.value or 'its end is missing' in problem.value
    assert problem.expected == 'a complete picture'


@pytest.mark.parametrize(('data', 'value'), [
    (b'<!DOCTYPE html><html>404</html>', '31 bytes, an HTML page'),
    (b'version https://git-lfs.github.com/spec/v1\noid sha256:00\n',
     '57 bytes, a Git LFS pointer, not the file itself'),
    (b'no picture at all', 'LoadImageFromFile fails: failed to load image: '),
])
def test_no_picture(root, data, value):
    path = replace(root, data)
    [problem] = check(root)
    assert (problem.kind, problem.severity, problem.file) == (
        'undecodable-file', 'error', path)
    assert problem.value.startswith(value)


def rotated(orientation, size=(24, 32)):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(photo('a', size), 'JPEG', exif=exif)


def test_what_mmcv_does_with_exif_rotation():
    stored = photo('a').size[::-1]
    for backend in ('cv2', 'pillow'):
        for flag, turned in (('color', True), ('grayscale', True),
                             ('unchanged', False),
                             ('color_ignore_orientation', False)):
            loaded = mmcv.imfrombytes(rotated(6), flag=flag, backend=backend)
            assert loaded.shape[:2] == (stored[::-1] if turned else stored)


def test_exif_rotation_turns_the_image_from_its_label(root):
    path = replace(root, rotated(6))
    [problem] = check(root)
    assert brief([problem]) == [(
        'exif-rotation', 'error', path,
        'EXIF orientation 6, the loader turns the image: 32x24, label 24x32')]
    assert 'exif_transpose' in problem.way_out


def test_exif_rotation_that_fits_the_label_is_a_warning(root):
    path = replace(root, rotated(6, (32, 24)))
    assert brief(check(root)) == [(
        'exif-rotation', 'warning', path,
        'EXIF orientation 6, the loader turns the image: 24x32, label 24x32, which '
        'fits')]


def test_exif_rotation_by_half_a_turn_cannot_be_told(root):
    path = replace(root, rotated(3))
    assert brief(check(root)) == [(
        'exif-rotation', 'warning', path,
        'EXIF orientation 3, the loader turns the image: 24x32, label 24x32, which '
        'does not tell whether they lie alike')]


def test_exif_rotation_follows_the_loader(root):
    path = replace(root, rotated(6))
    assert brief(check(root, color_type='color_ignore_orientation')) == [(
        'exif-rotation', 'warning', path,
        'EXIF orientation 6, the loader does not turn the image: 24x32, label 24x32, '
        'which fits')]


def sixteen(factor, grey=False):
    pixels = np.asarray(photo('a')).astype(np.uint16) * factor
    pixels[0, 0] = 0  # one dark pixel saves no contrast
    return cv2.imencode('.png', pixels[..., 0] if grey else pixels)[1].tobytes()


@pytest.mark.parametrize('grey', [False, True])
def test_sixteen_bits_of_full_range_lose_the_lower_half(root, grey):
    path = replace(root, sixteen(257, grey))
    problem = check(root)[0]
    assert (problem.kind, problem.severity, problem.file) == (
        'image-16-bit', 'warning', path)
    assert problem.value.startswith('16 bits a channel, values ')
    assert problem.value.endswith('the lower 8 bits are lost')


@pytest.mark.parametrize(('backend', 'end'), [('cv2', 15), ('pillow', 255)])
def test_twelve_bits_in_sixteen_are_fed_black_or_white(root, backend, end):
    path = replace(root, sixteen(16, grey=True))
    problem = check(root, imdecode_backend=backend)[0]
    assert (problem.kind, problem.severity, problem.file) == (
        'image-16-bit', 'error', path)
    assert problem.value.split()[-1].rstrip(',') in (str(end), str(end - 1))
    assert problem.expected == '8 bits a channel, 0 to 255'


def test_sixteen_bits_fed_as_they_are(root):
    replace(root, sixteen(257))
    problem = check(root, color_type='unchanged')[0]
    assert (problem.kind, problem.severity) == ('image-16-bit', 'error')
    assert problem.value == (
        "16 bits a channel, given as uint16 by LoadImageFromFile(color_type="
        "'unchanged')")


def test_cmyk(root):
    path = replace(root, encoded(photo('a').convert('CMYK'), 'JPEG', quality=95))
    [problem] = check(root)
    assert brief([problem]) == [(
        'image-cmyk', 'warning', path,
        'CMYK, turned into RGB by the loader without its colour profile')]
    channels = check(root, color_type='unchanged', imdecode_backend='pillow')[0]
    assert (channels.kind, channels.severity) == ('image-channels', 'error')


def test_cmyk_of_which_the_loader_makes_other_colours(root, monkeypatch):
    replace(root, encoded(photo('a').convert('CMYK'), 'JPEG', quality=95))
    decode = mmcv.imfrombytes
    monkeypatch.setattr('mmcv.transforms.loading.mmcv.imfrombytes',
                        lambda *args, **kwargs: 255 - decode(*args, **kwargs))
    problem = check(root)[0]
    assert (problem.kind, problem.severity) == ('image-cmyk', 'error')
    assert 'of 255 off on average' in problem.value


def test_grey_images_alone_are_fine_and_among_colours_are_told(root):
    path = replace(root, encoded(photo('a').convert('L'), 'JPEG'))
    add(root, 'train', 'train2')
    [problem] = check(root)
    assert brief([problem]) == [
        ('grey-among-colours', 'warning', path, 'greyscale')]
    assert problem.expected == 'colour, as most of the 3 images looked at'
    replace(root, encoded(photo('b').convert('L'), 'JPEG'), 'train1')
    [problem] = check(root)
    assert (Path(problem.file).stem, problem.value) == ('train2', 'colour')
    replace(root, encoded(photo('c').convert('L'), 'JPEG'), 'train2')
    assert check(root) == []


def test_channels_the_network_does_not_take(root):
    path = replace(root, encoded(photo('a').convert('L'), 'JPEG'))
    [problem] = check(root, color_type='unchanged')
    assert brief([problem]) == [(
        'image-channels', 'error', path,
        "L image, LoadImageFromFile(color_type='unchanged') gives 1 channel(s)")]
    assert problem.expected == '3, as model.data_preprocessor.mean has'
    cfg = config(root)
    cfg.model.data_preprocessor.update(mean=[0.], std=[1.])
    cfg.train_dataloader.dataset.pipeline[0].color_type = 'unchanged'
    problems = check_dataset(cfg, ['train']).problems
    assert [(p.kind, Path(p.file).stem) for p in problems] == [
        ('image-channels', 'train1')]


@pytest.mark.parametrize(('alpha', 'count'), [(255, 0), (0, 1)])
def test_alpha(root, alpha, count):
    picture = photo('a').convert('RGBA')
    picture.putpixel((3, 3), (9, 9, 9, alpha))
    path = replace(root, encoded(picture))
    assert [p[:3] for p in brief(check(root))] == count * [
        ('image-alpha', 'warning', path)]
    [problem] = check(root, color_type='unchanged')
    assert (problem.kind, problem.severity) == ('image-channels', 'error')


def test_images_of_different_sizes_are_fine(root):
    add(root, 'train', 'large', photo('large', (40, 56)), stripes((40, 56)))
    cfg = config(root)
    report = check_dataset(cfg, ['train'])
    assert report.problems == []
    assert report.splits['train'].image_sizes == {(24, 32): 2, (40, 56): 1}


def test_a_loader_that_is_not_understood_is_left_alone(root):
    replace(root, b'x')
    cfg = config(root)
    cfg.train_dataloader.dataset.pipeline[0] = dict(type='LoadBiomedicalImageFromFile')
    [problem] = check_dataset(cfg, ['train']).problems
    assert (problem.kind, problem.severity) == ('not-understood', 'warning')
    assert 'LoadBiomedicalImageFromFile' in problem.value
