"""Records and the folder: in order after any interruption, and of one run only."""

import csv
import json
import os
from types import SimpleNamespace

import pytest

from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.prediction import RunFolder
from fastsegformer_mm.deploy.prediction.record_files import (
    RecordFiles,
    read_records,
    repair,
)


def record(source='a.png', frame=None, at=None, boxes=((0, 8, 8, 8), (1, 2, 3, 4))):
    return {
        'source': source,
        'frame': frame,
        'seconds': None,
        'at': at,
        'grade': 'B',
        'classes': {
            'ulcer': {
                'pixels': 64,
                'share': 0.5,
                'part_share': None,
                'regions': 2,
                'largest': 40,
                'boxes': boxes,
            },
            'rust': {
                'pixels': 0,
                'share': 0.0,
                'part_share': None,
                'regions': 0,
                'largest': 0,
                'boxes': (),
            },
        },
        'mask': None,
        'overlay': None,
        'stamp': [1, 2],
    }


def append(folder, *records):
    files = RecordFiles(folder)
    for one in records:
        files.append(one)
    files.close()


def sources_of(folder):
    return [(r['source'], r['frame']) for r in read_records(folder)]


def rows_of(folder):
    with open(folder / 'defects.csv', newline='') as file:
        return list(csv.DictReader(file))


def test_both_files_as_they_are_written(tmp_path):
    files = RecordFiles(tmp_path)
    files.append(record('with, comma.png'))
    # whoever looks meanwhile sees whole lines
    assert sources_of(tmp_path) == [('with, comma.png', None)]
    first, second = rows_of(tmp_path)
    assert first == {
        'source': 'with, comma.png',
        'frame': '',
        'seconds': '',
        'at': '',
        'class': 'ulcer',
        'pixels': '64',
        'share': '0.5',
        'part_share': '',
        'regions': '2',
        'largest': '40',
        'boxes': '0 8 8 8;1 2 3 4',
        'grade': 'B',
    }
    assert (second['class'], second['boxes']) == ('rust', '')
    files.close()
    append(tmp_path, record('b.png'))
    assert [row['source'] for row in rows_of(tmp_path)] == [
        'with, comma.png',
        'with, comma.png',
        'b.png',
        'b.png',
    ]


def test_repair_of_a_half_line_and_of_a_csv_that_lags_behind(tmp_path):
    append(tmp_path, record('a.png'), record('b.png'))
    with open(tmp_path / 'defects.jsonl', 'ab') as file:
        file.write(b'{"source": "c.png", "fra')
    text = (tmp_path / 'defects.csv').read_bytes()
    (tmp_path / 'defects.csv').write_bytes(text[: len(text) // 2])
    assert repair(tmp_path, lambda record: True) == 2
    append(tmp_path, record('c.png'))
    assert sources_of(tmp_path) == [('a.png', None), ('b.png', None), ('c.png', None)]
    assert [row['source'] for row in rows_of(tmp_path)[::2]] == [
        'a.png',
        'b.png',
        'c.png',
    ]
    assert {p.name for p in tmp_path.iterdir()} == {'defects.jsonl', 'defects.csv'}


def test_repair_of_a_line_that_is_whole_but_for_its_end(tmp_path):
    append(tmp_path, record('a.png'))
    path = tmp_path / 'defects.jsonl'
    path.write_bytes(path.read_bytes()[:-1])
    assert repair(tmp_path, lambda record: True) == 0
    assert path.read_bytes() == b''


def test_repair_drops_the_unwanted_and_what_is_there_twice(tmp_path):
    append(
        tmp_path,
        record('a.png'),
        record('v.mp4', 0),
        record('v.mp4', 1),
        record('a.png'),
        record('v.mp4', 1),
        record('v.mp4', 2),
        record('b.png'),
    )
    with open(tmp_path / 'defects.jsonl', 'ab') as file:
        file.write(b'[]\n3\n\xff\xfe\n{"source": 1}\n')
    kept = repair(tmp_path, lambda record: record['source'] != 'b.png')
    expected = [('a.png', None), ('v.mp4', 0), ('v.mp4', 1), ('v.mp4', 2)]
    assert (kept, sources_of(tmp_path)) == (4, expected)


def source(origin, stamp=(1, 2)):
    return SimpleNamespace(origin=origin, kind='image', stamp=lambda: stamp)


def test_resume_knows_what_is_complete(tmp_path):
    names = ('done.png', 'changed.png', 'lost.png', 'emptied.png', 'gone.png')
    with RunFolder(tmp_path, {}) as folder:
        folder.resume([])
        for name in names:
            folder.write(f'masks/{name}', b'x')
        folder.complete(source('whole.mp4'))
        made = [{**record(name), 'mask': f'masks/{name}'} for name in names]
        videos = [record('whole.mp4', 0), record('half.mp4', 0), record('half.mp4', 3)]
        append(tmp_path, *made, *videos, record('camera', 8, at='2026-01-01'))
    (tmp_path / 'masks/lost.png').unlink()
    (tmp_path / 'masks/emptied.png').write_bytes(b'')
    (tmp_path / 'masks/.late.png.tmp').write_bytes(b'x')
    with RunFolder(tmp_path, {}) as folder:
        todo = [source(n) for n in (*names[:4], 'new.png', 'whole.mp4', 'half.mp4')]
        todo[1] = source('changed.png', (1, 3))
        folder.resume(todo)
        # gone.png is not among the inputs any more
        assert folder.done == {'done.png', 'gone.png', 'whole.mp4'}
        assert folder.next_frame == {'camera': 9}
        assert folder.kept == 4
    assert sources_of(tmp_path) == [
        ('done.png', None),
        ('gone.png', None),
        ('whole.mp4', 0),
        ('camera', 8),
    ]
    assert not (tmp_path / 'masks/.late.png.tmp').exists()
    # a video that was changed is read again
    with RunFolder(tmp_path, {}) as folder:
        folder.resume([source('whole.mp4', (5, 5))])
        assert 'whole.mp4' not in folder.done


def test_another_run_is_refused_and_overwrite_begins_anew(tmp_path):
    before = {'model': {'sha256': '1'}, 'opacity': 0.5}
    with RunFolder(tmp_path, before) as folder:
        folder.write('masks/a.png', b'x')
        folder.write('masks/own.png', b'x')
        append(tmp_path, {**record(), 'mask': 'masks/a.png'})
        append(tmp_path, {**record('b'), 'mask': 'masks/../../victim.png'})
    (tmp_path.parent / 'victim.png').write_bytes(b'x')
    with (
        pytest.raises(DeployError) as error,
        RunFolder(tmp_path, {**before, 'opacity': 1}),
    ):
        pass
    assert str(tmp_path) in str(error.value)
    assert 'opacity was 0.5, now it is 1.' in str(error.value)
    assert '--overwrite' in str(error.value)
    assert len(sources_of(tmp_path)) == 2
    with RunFolder(tmp_path, {'opacity': 1}, overwrite=True) as folder:
        folder.resume([])
        assert folder.done == set()
    assert sources_of(tmp_path) == []
    # only what the records name, and only within the folder
    assert os.listdir(tmp_path / 'masks') == ['own.png']
    assert (tmp_path.parent / 'victim.png').exists()
    manifest = json.loads((tmp_path / 'manifest.json').read_text())
    assert manifest['identity'] == {'opacity': 1}


def test_records_without_manifest_are_nobodys(tmp_path):
    append(tmp_path, record())
    with pytest.raises(DeployError, match=r'a defects\.jsonl but no manifest\.json'):
        RunFolder(tmp_path, {}).__enter__()
    (tmp_path / 'manifest.json').write_text('{"identity": ')
    with pytest.raises(DeployError, match='another run: a was null, now it is 1'):
        RunFolder(tmp_path, {'a': 1}).__enter__()


def test_one_run_at_a_time(tmp_path):
    second = RunFolder(tmp_path, {})
    busy = pytest.raises(DeployError, match='another run is writing into')
    with RunFolder(tmp_path, {}), busy:
        second.__enter__()
    with RunFolder(tmp_path, {}):
        pass


def test_no_folder(tmp_path):
    (tmp_path / 'file').write_bytes(b'')
    with pytest.raises(DeployError, match='cannot be written to'):
        RunFolder(tmp_path / 'file', {}).__enter__()


def test_files_are_whole_or_not_at_all(tmp_path, monkeypatch):
    with RunFolder(tmp_path, {}) as folder:
        folder.write('masks/a.png', b'old')

        def full(*args):
            raise OSError(28, 'No space left on device')

        monkeypatch.setattr(os, 'replace', full)
        with pytest.raises(OSError, match='No space'):
            folder.write('masks/a.png', b'new')
    assert os.listdir(tmp_path / 'masks') == ['a.png']
    assert (tmp_path / 'masks/a.png').read_bytes() == b'old'


def test_video_of_a_camera_outlives_a_kill(tmp_path):
    overlays = tmp_path / 'overlays'
    overlays.mkdir()
    for name, content in (('.cam.tmp.mkv', b'new'), ('cam.broken-off-1.mkv', b'old')):
        (overlays / name).write_bytes(content)
    (overlays / '.photo.png.tmp').write_bytes(b'half')
    camera = SimpleNamespace(origin='camera 0', kind='live')
    with RunFolder(tmp_path, {}) as folder:
        folder.resume([camera])
    assert {p.name: p.read_bytes() for p in overlays.iterdir()} == {
        'cam.broken-off-1.mkv': b'old',
        'cam.broken-off-2.mkv': b'new',
    }
    # a video file is read again from its start
    (overlays / '.belt.tmp.mkv').write_bytes(b'half')
    with RunFolder(tmp_path, {}) as folder:
        folder.resume([SimpleNamespace(origin='belt.mp4', kind='video')])
    assert not (overlays / '.belt.tmp.mkv').exists()
