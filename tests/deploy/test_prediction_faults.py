"""Whose fault a failure is: a file's own, or one that ends the run."""

import errno
import os
import runpy
from pathlib import Path

import numpy as np
import pytest

from fastsegformer_mm.deploy.errors import DeployError, FrameError
from fastsegformer_mm.deploy.frames import check_frame
from fastsegformer_mm.deploy.prediction import (
    FrameSettings,
    InputError,
    Outcome,
    decode,
    finish,
    result_writer,
)
from fastsegformer_mm.deploy.prediction.input_error import fault_of, reading_failed
from fastsegformer_mm.deploy.prediction.names import as_json
from fastsegformer_mm.utils.names import escaped

cases = runpy.run_path(str(Path(__file__).with_name('prediction_cases.py')))
ColourSegmentor, predict, records = (
    cases[name] for name in ('ColourSegmentor', 'predict', 'records')
)
NAMES = [f'{k}.png' for k in range(9)]


@pytest.fixture
def photos(tmp_path):
    cases['write_images'](tmp_path / 'photos', NAMES)
    return tmp_path / 'photos'


def error(name):
    number = getattr(errno, name)
    return OSError(number, os.strerror(number), 'some/file')


def fails(real, name, which):
    """A function that fails with an error where the path it gets is one of some."""

    def function(path, *args):
        if Path(path).stem in which:
            raise error(name)
        return real(path, *args)

    return function


def read_of(monkeypatch, name, which):
    monkeypatch.setattr(
        decode.Path, 'read_bytes', fails(Path.read_bytes, name, which)
    )


@pytest.mark.parametrize('name', ['EACCES', 'ENOENT', 'EIO', 'ESTALE'])
def test_one_file_that_is_not_read(photos, tmp_path, monkeypatch, name):
    with monkeypatch.context() as patch:
        read_of(patch, name, '4')
        outcome = predict(photos, tmp_path / 'out')
    assert outcome.error is None
    assert outcome.failures == [('4.png', os.strerror(getattr(errno, name)))]
    assert len(records(tmp_path / 'out')) == 8
    assert predict(photos, tmp_path / 'out').frames == 1


@pytest.mark.parametrize('name', ['ENOTCONN', 'ETIMEDOUT', 'EHOSTDOWN', 'EMFILE'])
def test_a_lost_connection_ends_the_run_at_once(photos, tmp_path, monkeypatch, name):
    with monkeypatch.context() as patch:
        read_of(patch, name, '45678')
        outcome = predict(photos, tmp_path / 'out')
    assert outcome.error.errno == getattr(errno, name)
    assert (outcome.frames, outcome.failed) == (4, 0)
    assert predict(photos, tmp_path / 'out').frames == 5


def test_errors_that_do_not_end_are_none_of_the_files(photos, tmp_path, monkeypatch):
    read_of(monkeypatch, 'EIO', '2345678')
    outcome = predict(photos, tmp_path / 'out')
    assert str(outcome.error) == (
        '5 inputs in a row failed, the last of them 6.png: Input/output error'
    )
    assert (outcome.frames, outcome.failed) == (2, 5)


def test_files_of_a_kind_do_not_end_the_run(photos, tmp_path, monkeypatch):
    read_of(monkeypatch, 'EACCES', '01234567')
    outcome = predict(photos, tmp_path / 'out')
    assert (outcome.frames, outcome.failed, outcome.error) == (1, 8, None)


def test_a_file_that_has_gone_with_its_folder(tmp_path):
    gone = error('ENOENT')
    assert not reading_failed(gone, tmp_path / 'a.png', 'a.png').doubtful
    assert reading_failed(gone, tmp_path / 'share/a.png', 'share/a.png').doubtful


@pytest.mark.parametrize('name', ['EINVAL', 'EILSEQ', 'ENAMETOOLONG'])
def test_one_name_that_cannot_be_written(photos, tmp_path, monkeypatch, name):
    real = result_writer.replace_file
    with monkeypatch.context() as patch:
        # the second file of the image: what was written of it goes
        patch.setattr(
            result_writer,
            'replace_file',
            lambda path, content: fails(real, name, '4' * (path.suffix == '.jpg'))(
                path, content
            ),
        )
        outcome = predict(photos, tmp_path / 'out')
    assert outcome.error is None
    ((origin, reason),) = outcome.failures
    assert origin == '4.png'
    assert reason.startswith('its output overlays/4.jpg cannot be written (')
    assert not (tmp_path / 'out/masks/4.png').exists()
    assert len(records(tmp_path / 'out')) == 8


@pytest.mark.parametrize('name', ['ENOSPC', 'EACCES', 'EROFS', 'EIO', 'ENOTCONN'])
def test_outputs_that_cannot_be_written_end_the_run(
    photos, tmp_path, monkeypatch, name
):
    real = result_writer.replace_file
    with monkeypatch.context() as patch:
        patch.setattr(result_writer, 'replace_file', fails(real, name, '4'))
        outcome = predict(photos, tmp_path / 'out')
    assert outcome.error.errno == getattr(errno, name)
    assert (outcome.frames, outcome.failed) == (4, 0)
    assert predict(photos, tmp_path / 'out').frames == 5


def test_a_frame_that_the_model_does_not_take(photos, tmp_path):
    class Fixed(ColourSegmentor):
        def segment(self, frame):
            if frame[12, 8, 1] == 255:  # pictures 1 to 4
                check_frame(frame[..., 0])
            return super().segment(frame)

    outcome = predict(photos, tmp_path / 'out', Fixed())
    assert outcome.error is None
    assert [origin for origin, _ in outcome.failures] == NAMES[1:5]
    assert 'a frame is uint8 of (48, 64); expected' in outcome.failures[0][1]


def test_a_model_that_is_at_fault_ends_the_run(photos, tmp_path):
    def die(number):
        if number == 3:
            raise DeployError('the network does not answer')

    outcome = predict(photos, tmp_path / 'out', ColourSegmentor(on_frame=die))
    assert str(outcome.error) == 'the network does not answer'
    assert (outcome.frames, outcome.failed) == (2, 0)


def test_what_nobody_foresaw_fails_a_frame(photos, tmp_path, monkeypatch):
    real = finish.measure

    def measure(mask, *args):
        # picture 4 alone
        if mask[8, 8] == 1 and mask[8, 7] == 0:
            raise ZeroDivisionError('division\nby zero')
        return real(mask, *args)

    monkeypatch.setattr(finish, 'measure', measure)
    outcome = predict(photos, tmp_path / 'out')
    assert outcome.error is None
    assert outcome.failures == [('4.png', 'ZeroDivisionError: division by zero')]


def test_a_video_of_an_odd_name_is_left(tmp_path):
    long = 'v' * 250
    cases['write_video'](tmp_path / 'in/v.mkv', 40)
    (tmp_path / 'in/v.mkv').rename(tmp_path / f'in/{long}.mkv')
    cases['write_images'](tmp_path / 'in', ['a.png', 'z.png'])
    for frames in (2, 0):
        outcome = predict(tmp_path / 'in', tmp_path / 'out')
        assert (outcome.frames, outcome.failed, outcome.error) == (frames, 1, None)
        assert outcome.failures[0][0] == f'{long}.mkv'
        assert 'cannot be written (File name too long)' in outcome.failures[0][1]


def test_faults():
    with pytest.raises(InputError, match=r'^a: 3 x 4') as found, fault_of('a'):
        raise FrameError('3 x 4')
    assert not found.value.doubtful
    with pytest.raises(InputError, match=r'^a: MemoryError$') as found, fault_of('a'):
        raise MemoryError
    assert found.value.doubtful
    for other in (DeployError('x'), OSError(5, 'x'), KeyboardInterrupt()):
        with pytest.raises(type(other)) as found, fault_of('a'):
            raise other
        assert found.value is other


def test_doubts_are_counted_from_the_last_frame_that_was_done():
    outcome = Outcome()
    doubtful, own = InputError('a', 'x', doubtful=True), InputError('b', 'y')
    for error in [doubtful] * 4 + [own] * 9:
        outcome.fail(error)
    outcome.add('c', {}, None)
    for error in [doubtful, own] * 4:
        outcome.fail(error)
    with pytest.raises(DeployError, match=r'5 inputs in a row failed, .* a: x'):
        outcome.fail(doubtful)
    assert outcome.failed == 22


def test_names():
    assert escaped('a b　橙é.jpg') == 'a b　橙é.jpg'
    assert escaped('\udcb3\ud800\t\x85\u2028') == r'\xb3\ud800\t\x85\u2028'
    assert as_json(['\udcb3', '橙', '\n']) == r'["\\xb3", "橙", "\n"]'.encode()


def test_overlays_that_no_format_holds():
    picture = np.zeros((2, 70_000, 3), np.uint8)
    with pytest.raises(FrameError, match='70000 x 2 pixels cannot be encoded as jpg'):
        finish.encode_picture(picture, 'jpg')
    assert FrameSettings().depth is None
