"""What the user names becomes sources with names of their own."""

import os
import shutil
import sys

import pytest

from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.prediction import find_inputs
from fastsegformer_mm.deploy.prediction.inputs import _named


@pytest.fixture
def photos(tmp_path):
    names = (
        'b.JPG',
        'a.png',
        'left/a.png',
        'left/deep/a.jpeg',
        'belt.mp4',
        'notes.txt',
        '.hidden.png',
        '.trash/a.png',
        'out/masks/a.png',
    )
    for name in names:
        path = tmp_path / 'photos' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'x')
    return tmp_path / 'photos'


def origins(inputs):
    return [source.origin for source in inputs.sources]


def test_folder_with_subfolders_but_without_the_outputs(photos):
    inputs = find_inputs([photos], photos / 'out')
    assert origins(inputs) == [
        'a.png',
        'b.JPG',
        'belt.mp4',
        'left/a.png',
        'left/deep/a.jpeg',
    ]
    assert [s.name for s in inputs.sources] == [
        'a',
        'b',
        'belt',
        'left/a',
        'left/deep/a',
    ]
    assert [s.kind for s in inputs.sources] == ['image', 'image', 'video'] + [
        'image'
    ] * 2
    assert inputs.root == str(photos)
    assert 'out/masks/a.png' in origins(find_inputs([photos]))


def test_glob_is_named_from_where_it_begins(photos):
    inputs = find_inputs([f'{photos}/**/*.png'], photos / 'out')
    # glob passes over what is hidden
    assert origins(inputs) == ['a.png', 'left/a.png']
    # the same names however many match
    assert origins(find_inputs([f'{photos}/le*/*.png'])) == ['left/a.png']
    # a folder that matches is searched
    assert origins(find_inputs([f'{photos}/le*'])) == ['left/a.png', 'left/deep/a.jpeg']


def test_several_inputs_are_named_from_their_common_folder_and_read_once(photos):
    inputs = find_inputs([photos / 'left', photos / 'a.png', photos / 'left/a.png'])
    assert origins(inputs) == ['left/a.png', 'left/deep/a.jpeg', 'a.png']
    assert inputs.root == str(photos)


def test_a_file_alone_and_relative(photos, monkeypatch):
    monkeypatch.chdir(photos)
    source = find_inputs(['left/a.png']).sources[0]
    assert (source.origin, source.name, source.path) == (
        'a.png',
        'a',
        str(photos / 'left/a.png'),
    )


def test_equal_stems_get_names_of_their_own(photos):
    for name in ('a.jpg', 'a.mp4', 'a_jpg.png'):
        (photos / name).write_bytes(b'x')
    names = {s.origin: s.name for s in find_inputs([photos]).sources}
    assert names['a.png'] == 'a_png'
    assert names['a.mp4'] == 'a_mp4'
    assert names['a_jpg.png'] == 'a_jpg'
    assert names['a.jpg'] == 'a_jpg_'
    assert len(set(names.values())) == len(names)


def test_linked_folders_are_followed_but_not_round_and_round(photos):
    os.symlink(photos / 'left', photos / 'right')
    os.symlink(photos, photos / 'left/up')
    found = origins(find_inputs([photos / 'left/deep', photos / 'right']))
    assert found[:3] == ['left/deep/a.jpeg', 'right/a.png', 'right/deep/a.jpeg']
    assert len(found) < 20


def test_cameras_and_addresses(photos):
    camera = find_inputs(['1']).sources[0]
    assert (camera.kind, camera.name, camera.origin, camera.address) == (
        'live',
        'camera_1',
        '1',
        1,
    )
    secret = 'rtsp://user:pass@10.0.0.5:554/line 1?token=9'
    inputs = find_inputs([secret, str(photos / 'a.png')], reconnect=2)
    stream = inputs.sources[-1]
    # after the files: it never ends
    assert [s.kind for s in inputs.sources] == ['image', 'live']
    assert stream.address == secret
    assert stream.origin == 'rtsp://10.0.0.5:554/line 1'
    assert stream.name == 'rtsp_10.0.0.5_554_line_1'
    assert stream.reconnect == 2


@pytest.mark.parametrize(
    ('name', 'said'),
    [
        ('nothing', 'nothing: no such file or folder; expected images'),
        ('notes.txt', 'notes.txt: expected an image (.bmp'),
        ('*.tif', 'nothing to read there'),
        ('empty', 'nothing to read there'),
    ],
)
def test_errors(photos, name, said):
    (photos / 'empty').mkdir()
    with pytest.raises(DeployError) as error:
        find_inputs([str(photos / name)])
    assert said in str(error.value)
    assert str(photos / name) in str(error.value)


def test_two_cameras_need_two_runs():
    with pytest.raises(DeployError, match='2 cameras and addresses were given, 0, 1;'):
        find_inputs(['0', '1'])


@pytest.fixture
def locked(photos, monkeypatch):
    """The folder left/deep, which may not be looked into, whoever runs the tests."""
    folder, real = photos / 'left/deep', os.scandir

    def scandir(path='.'):
        if os.path.realpath(path) == str(folder):
            raise PermissionError(13, 'Permission denied', str(path))
        return real(path)

    monkeypatch.setattr(os, 'scandir', scandir)
    return folder


@pytest.mark.parametrize('pattern', ['', '**/*.jp*g', 'left/*/*.jpeg', '*'])
def test_folders_that_may_not_be_read_are_failures(photos, locked, pattern):
    inputs = find_inputs([os.path.join(photos, pattern)], photos / 'out')
    (failure,) = inputs.failures
    assert failure.origin == ('deep' if pattern.startswith('left') else 'left/deep')
    assert failure.reason == 'a folder that cannot be read: Permission denied'
    assert not failure.doubtful
    assert 'left/deep/a.jpeg' not in origins(inputs)


def test_a_folder_that_may_not_be_read_is_no_input(photos, locked):
    with pytest.raises(DeployError) as error:
        find_inputs([locked])
    assert str(error.value) == (
        f'{locked}: Permission denied; expected a folder to read from'
    )


def results_of_a_run(folder, *held):
    for name in (*held, 'masks/a.png', 'overlays/deep/a.jpg', 'own.png'):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b'x')


@pytest.mark.parametrize('held', ['manifest.json', 'run.json'])
@pytest.mark.parametrize('pattern', ['', '**/*', '*', 'left/res*', 'left/*/*'])
def test_results_of_an_earlier_run_are_left_out(photos, held, pattern):
    results_of_a_run(photos / 'left/results', 'defects.jsonl', held)
    inputs = find_inputs([os.path.join(photos, pattern)], photos / 'out')
    assert inputs.left_out == (str(photos / 'left/results'),)
    found = [name for name in origins(inputs) if 'results' in name]
    # what is the user's own stays
    assert [os.path.basename(name) for name in found] == ['own.png']
    # those of this run are no news
    assert not find_inputs([photos], photos / 'left/results').left_out


def test_what_only_looks_like_results_is_read(photos):
    results_of_a_run(photos / 'left/results', 'run.json', 'manifest.json')
    inputs = find_inputs([photos], photos / 'out')
    assert not inputs.left_out
    assert 'left/results/masks/a.png' in origins(inputs)
    # as are results that are asked for
    results_of_a_run(photos / 'left/results', 'defects.jsonl')
    for named in ('left/results/masks', 'left/results/masks/*.png'):
        inputs = find_inputs([photos / named], photos / 'out')
        assert (origins(inputs), inputs.left_out) == (['a.png'], ())


@pytest.mark.skipif(sys.platform != 'linux', reason='names are bytes there alone')
def test_names_that_are_no_utf8_are_failures(photos):
    odd = os.fsdecode(os.fsencode(photos) + b'/left/\xb3\xc8.png')
    shutil.copyfile(photos / 'a.png', odd)
    inputs = find_inputs([photos], photos / 'out')
    (failure,) = inputs.failures
    assert failure.origin == 'left/\udcb3\udcc8.png'
    assert 'its name is not valid UTF-8' in failure.reason
    assert len(origins(inputs)) == 5
    assert find_inputs([odd]).sources == []


def test_names_that_differ_in_case_only_get_names_of_their_own(tmp_path):
    names = ['A.png', 'a.png', 'Caf\xe9.png', 'cafe\u0301.png']
    sources, failures = _named([f'/p/{name}' for name in names], '/p')
    assert failures == []
    assert [source.origin for source in sources] == names
    found = [source.name for source in sources]
    assert found == ['A_png', 'a_png_', 'Caf\xe9_png', 'cafe\u0301_png_']
