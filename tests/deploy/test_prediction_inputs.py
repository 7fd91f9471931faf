"""What the user names becomes sources with names of their own."""

import os

import pytest

from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.prediction import find_inputs


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
