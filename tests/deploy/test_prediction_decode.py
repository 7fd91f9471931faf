"""Image files as the loader has them, and those that it would read wrongly."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from PIL import Image

from fastsegformer_mm.deploy.prediction import InputError, decode_image

RNG = np.random.default_rng(0)
SMOOTH = cv2.resize(RNG.integers(0, 256, (6, 8, 3), np.uint8), (80, 60))


def pillow(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def opencv(image, kind):
    return cv2.imencode(f'.{kind}', image)[1].tobytes()


def reason(content, **options):
    with pytest.raises(InputError) as error:
        decode_image(content, 'a', **options)
    assert not error.value.doubtful
    assert '\n' not in str(error.value)
    return error.value.reason


@pytest.mark.parametrize(
    ('mode', 'kind'),
    [
        *((mode, kind) for mode in ('1', 'L', 'LA', 'P', 'RGB', 'RGBA')
          for kind in ('PNG', 'TIFF')),
        ('CMYK', 'JPEG'),
        ('CMYK', 'TIFF'),
        ('L', 'JPEG'),
        ('RGB', 'BMP'),
        ('RGBA', 'WEBP'),
        ('P', 'BMP'),
        ('1', 'PPM'),
    ],
)  # fmt: skip
def test_every_mode_is_read_as_in_a_training(tmp_path, mode, kind):
    content = pillow(Image.fromarray(SMOOTH).convert(mode), kind)
    (tmp_path / 'a').write_bytes(content)
    expected = LoadImageFromFile()({'img_path': str(tmp_path / 'a')})['img']
    found = decode_image(content, 'a')
    assert (found.shape, found.dtype) == ((60, 80, 3), np.uint8)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize('kind', ['png', 'tif', 'pgm'])
def test_16_bits(tmp_path, kind):
    twelve = RNG.integers(0, 4096, (60, 60)).astype(np.uint16)
    content = opencv(twelve, kind)
    assert reason(content) == (
        f'16 bits a channel, values {twelve.min()} to {twelve.max()}; expected 8, '
        'since no file says how many bits are in use: predict.py is told by --depth '
        '(12: 4095 is white; 16: as in a training)'
    )
    found = decode_image(content, 'a', depth=12)
    assert np.array_equal(found, np.repeat((twelve >> 4)[..., None], 3, axis=2))
    assert found.max() == 255
    # as the loader has it: black
    (tmp_path / 'a').write_bytes(content)
    loaded = LoadImageFromFile()({'img_path': str(tmp_path / 'a')})['img']
    assert np.array_equal(decode_image(content, 'a', depth=16), loaded)
    assert loaded.max() == 15
    assert 'expected 2047 at most with --depth 11' in reason(content, depth=11)


def test_other_depths():
    for kind in (np.float32, np.int16, np.int32):
        content = opencv(SMOOTH.astype(kind), 'tif')
        assert f'{np.dtype(kind)} values, ' in reason(content, depth=12)
        assert 'expected 8 bits a channel: scale them' in reason(content)


def test_several_pages():
    pictures = [Image.fromarray(SMOOTH), Image.fromarray(255 - SMOOTH)]
    for kind in ('TIFF', 'PNG', 'WEBP', 'GIF'):
        content = pillow(pictures[0], kind, save_all=True, append_images=pictures[1:])
        assert reason(content).startswith('2 pages or frames in one file; expected one')
    # a thumbnail is no page
    small = pictures[0].resize((8, 6))
    small.encoderinfo = {'tiffinfo': {254: 1}}
    content = pillow(pictures[0], 'TIFF', save_all=True, append_images=[small])
    assert Image.open(io.BytesIO(content)).n_frames == 2
    assert decode_image(content, 'a').shape == (60, 80, 3)
    # nor is the second picture of a telephone's JPEG
    content = pillow(pictures[0], 'MPO', save_all=True, append_images=pictures[1:])
    assert decode_image(content, 'a').shape == (60, 80, 3)


@pytest.mark.parametrize('kind', ['jpg', 'png', 'webp', 'tif', 'bmp', 'ppm'])
@pytest.mark.parametrize('part', [0.1, 0.5, 0.9, 0.999])
def test_files_that_were_cut_off(kind, part):
    content = opencv(SMOOTH, kind)
    assert decode_image(content, 'a').shape == (60, 80, 3)
    assert 'that are no whole image' in reason(content[: int(part * len(content))])


def test_jpegs_with_something_behind_them():
    content = opencv(SMOOTH, 'jpg')
    for more in (b'\0' * 100, b'film of the same moment' * 9):
        assert decode_image(content + more, 'a').shape == (60, 80, 3)


def test_more_pixels_than_opencv_reads():
    def chunk(kind, content):
        check = struct.pack('>I', zlib.crc32(kind + content))
        return struct.pack('>I', len(content)) + kind + content + check

    header = struct.pack('>IIBBBBB', 50_000, 50_000, 8, 2, 0, 0, 0)
    content = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header)
    content += chunk(b'IDAT', zlib.compress(bytes(100))) + chunk(b'IEND', b'')
    assert 'more pixels than OpenCV reads (2^30 in all' in reason(content)


def test_nothing():
    assert reason(b'') == 'the file is empty'
    assert reason(b'text') == '4 bytes that are no whole image of a known format'
