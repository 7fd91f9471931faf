import io
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile

from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.page.limits import Limits
from fastsegformer_mm.deploy.page.uploads import (
    Upload,
    decode_picture,
    is_video,
    kind_of,
    take,
)
from fastsegformer_mm.deploy.page.video import VideoReader, VideoWriter, shown_size

CASE = Path(__file__).with_name('page_case.py')
case = SimpleNamespace(**runpy.run_path(str(CASE)))
FRAME = case.frame()
LIMITS = Limits()


def decoded(data, name='a.jpg', limits=LIMITS):
    return decode_picture(Upload(name, data), limits)


def test_take_leaves_nothing(tmp_path):
    path = tmp_path / 'hash' / 'a.png'
    path.parent.mkdir()
    path.write_bytes(b'content')
    assert take(path) == Upload('a.png', b'content')
    assert not list(tmp_path.iterdir())
    with pytest.raises(
        DeployError, match=r'a\.png is no longer on the server; send it'
    ):
        take(path)


def test_take_leaves_what_others_sent(tmp_path):
    for name in 'ab':
        (tmp_path / name).write_text(name)
    assert take(tmp_path / 'a').data == b'a'
    assert [p.name for p in tmp_path.iterdir()] == ['b']


@pytest.mark.skipif(sys.platform == 'win32', reason='it has no such names')
def test_names_become_one_line(tmp_path):
    (tmp_path / 'a\n\udcb3.png').write_text('x')
    assert take(tmp_path / 'a\n\udcb3.png').name == r'a\n\xb3.png'


@pytest.mark.parametrize('ending', ['png', 'bmp', 'tiff', 'webp'])
def test_pictures_by_content(ending, tmp_path):
    options = [cv2.IMWRITE_WEBP_QUALITY, 101] if ending == 'webp' else []
    data = cv2.imencode(f'.{ending}', FRAME, options)[1].tobytes()
    np.testing.assert_array_equal(decoded(data, 'whatever.exe'), FRAME)


def test_jpeg_is_turned_as_its_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = np.zeros((16, 32, 3), np.uint8)
    image[:, :16] = 255
    path = tmp_path / 'a.jpg'
    Image.fromarray(image).save(path, exif=exif)
    out = decoded(path.read_bytes())
    assert out.shape == (32, 16, 3)
    assert out[:14].min() > 200
    assert out[18:].max() < 50


@pytest.mark.parametrize(
    ('data', 'what'),
    [
        (b'MZ\x90\x00' * 50, 'a Windows program'),
        (b'\x7fELF' + bytes(50), 'a Linux program'),
        (b'<!DOCTYPE html><html></html>', 'an HTML page'),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 'an SVG drawing'),
        (b'<?xml version="1.0"?>\n<svg/>', 'an SVG drawing'),
        (b'some words\n', 'a text'),
        (b'%!PS-Adobe-3.0 EPSF-3.0\n', 'a text'),
        (b'%PDF-1.7 ', 'a PDF document'),
        (b'PK\x03\x04' + bytes(30), 'a ZIP archive'),
        (b'GIF89a' + bytes(30), 'a GIF'),
        (b'\x1aE\xdf\xa3' + bytes(30), 'a video .see the tab Video.'),
        (b'\x00\xff\xfe\x01' * 9, 'unknown data'),
    ],
)
def test_what_is_no_picture(data, what):
    with pytest.raises(
        DeployError, match=f'^a.jpg is {what}, not a picture; expected JPEG, PNG'
    ):
        decoded(data)


def test_empty():
    with pytest.raises(DeployError, match=r'a\.jpg is empty; send a picture'):
        decoded(b'')
    assert kind_of(b'') == 'empty'


@pytest.mark.parametrize('encode', ['png', 'jpeg'])
def test_truncated_picture(encode, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 255, (90, 90, 3), np.uint8)
    data = getattr(case, encode)(noise)
    assert decoded(data).shape == noise.shape
    with pytest.raises(DeployError, match=r'broken or cut off .* send the whole file'):
        decoded(data[: len(data) // 2])
    with pytest.raises(DeployError, match='broken or cut off'):
        decoded(data[:30])
    # OpenCV 4 makes the rest grey
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: noise)
    with pytest.raises(DeployError, match='broken or cut off'):
        decoded(data[: len(data) // 2])


@pytest.mark.parametrize('ending', ['png', 'tiff'])
def test_pictures_of_16_bits(ending):
    deep = np.random.default_rng(0).integers(0, 4096, (60, 60)).astype(np.uint16)
    data = cv2.imencode(f'.{ending}', deep)[1].tobytes()
    with pytest.raises(DeployError) as told:
        decoded(data)
    assert str(told.value).startswith('a.jpg: 16 bits a channel, values ')
    # three channels of which Pillow does not know
    data = cv2.imencode(f'.{ending}', np.stack([deep] * 3, axis=2))[1].tobytes()
    with pytest.raises(DeployError, match=r'16 bits a channel|PNG of 8 bits'):
        decoded(data)


@pytest.mark.parametrize('kind', ['TIFF', 'PNG', 'WEBP'])
def test_pictures_of_several_pages(kind):
    first, second = Image.fromarray(FRAME), Image.fromarray(255 - FRAME)
    buffer = io.BytesIO()
    first.save(buffer, kind, save_all=True, append_images=[second])
    with pytest.raises(DeployError, match=r'^a\.jpg: 2 pages or frames in one file'):
        decoded(buffer.getvalue())


def test_pixels_are_looked_at_before_decoding(monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, 'load', None)
    data = case.png(np.zeros((1000, 1000), np.uint8))
    with pytest.raises(
        DeployError, match=r'1000 x 1000 pixels, 1\.0 megapixels; .*0.9'
    ):
        decoded(data, limits=Limits(megapixels=0.9))
    data = case.bomb(12_000)
    with pytest.raises(DeployError, match=r'12000 x 12000 pixels, 144\.0 megapixels'):
        decoded(data)
    # beyond what Pillow itself opens
    with pytest.raises(DeployError, match='more than 50 megapixels'):
        decoded(case.bomb(20_000))


def test_limits():
    assert (Limits(megabytes=1.5).bytes, Limits(megapixels=2).pixels) == (1.5e6, 2e6)
    for name in ('megabytes', 'seconds', 'frames', 'queue', 'concurrency', 'visitors'):
        with pytest.raises(DeployError, match=f'{name}=-1; expected more than 0'):
            Limits(**{name: -1})
    with pytest.raises(DeployError, match='megapixels=90; expected at most 89'):
        Limits(megapixels=90)


@pytest.mark.parametrize(
    ('ending', 'code'), [('webm', 'VP80'), ('mp4', 'mp4v'), ('avi', 'MJPG')]
)
def test_video_frames_and_times(ending, code):
    levels = [20, 80, 140, 200, 250]
    frames = [np.full((48, 64, 3), level, np.uint8) for level in levels]
    data = case.video(frames, 10, ending, code)
    with VideoReader(Upload('a.bin', data), LIMITS) as reader:
        assert reader.frames == 5
        read = list(reader)
        again = list(reader)
    assert [round(seconds, 3) for seconds, _ in read] == [0, 0.1, 0.2, 0.3, 0.4]
    assert len(again) == 5
    for (_, image), level in zip(read, levels):
        assert image.shape == (48, 64, 3)
        assert abs(float(image.mean()) - level) < 6


def test_video_within_limits(monkeypatch):
    data = case.video([FRAME] * 5, 10)
    for limits, words in (
        (Limits(frames=4), 'more than 4 frames'),
        (Limits(seconds=0.3), 'longer than 0.3 seconds'),
        (Limits(megapixels=0.001), r'80 x 60 pixels, 0\.0 megapixels'),
    ):
        with pytest.raises(DeployError, match=f'a.webm .*{words}'):
            VideoReader(Upload('a.webm', data), limits)
    # a header that has no length, as that of a recording
    monkeypatch.setattr(cv2, 'CAP_PROP_FRAME_COUNT', -1)
    for limits in (Limits(frames=4), Limits(seconds=0.3)):
        with (
            VideoReader(Upload('a.webm', data), limits) as reader,
            pytest.raises(DeployError, match='the most that this page takes'),
        ):
            list(reader)


@pytest.mark.parametrize(
    ('data', 'words'),
    [
        (
            b'#EXTM3U\nfile:///etc/passwd\n',
            'a.mp4 is a text, not a video; expected MP4',
        ),
        (b'ffconcat version 1.0\nfile /etc/passwd\n', 'is a text, not a video'),
        (case.png(FRAME), 'is a picture .see the tab Picture., not a video'),
        (bytes(4) + b'ftypisom' + bytes(99), 'broken, cut off, or in a format'),
    ],
)
def test_what_is_no_video(data, words, tmp_path, monkeypatch):
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    with pytest.raises(DeployError, match=words) as told:
        VideoReader(Upload('a.mp4', data), LIMITS)
    # at once, not when somebody lets go of the error
    assert not list(tmp_path.iterdir())
    assert told.value.__traceback__


def test_video_files_go(tmp_path, monkeypatch):
    data = case.video([FRAME] * 2)
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    with VideoReader(Upload('a.webm', data), LIMITS) as reader:
        assert len(list(tmp_path.iterdir())) == 1
        list(reader)
    with VideoWriter(10, (80, 60)) as writer:
        writer.write(FRAME)
        assert is_video(writer.content())
    assert not list(tmp_path.iterdir())


def test_shown_size_is_even():
    assert shown_size(641, 33) == (640, 32)
    assert shown_size(4000, 3) == (960, 2)
