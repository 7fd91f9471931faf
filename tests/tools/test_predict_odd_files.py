"""One odd file never ends a run: it is named, the others are done, so is a restart."""

import io
import json
import os
import runpy
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fastsegformer_mm.deploy.prediction import FrameSettings, ray_worker
from fastsegformer_mm.deploy.prediction.record_files import read_records

TESTS = Path(__file__).parents[1]
cases = runpy.run_path(str(TESTS / 'deploy/prediction_cases.py'))
tool = runpy.run_path(str(Path(__file__).with_name('predict_worker.py')))['tool']
ColourSegmentor, report = cases['ColourSegmentor'], cases['report']
RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 4096, (48, 64)).astype(np.uint16)
linux = pytest.mark.skipif(
    sys.platform != 'linux', reason='other systems refuse such a name themselves'
)


@pytest.fixture
def photos(tmp_path):
    cases['write_images'](tmp_path / 'photos', ['a.png', 'z.png'])
    return tmp_path / 'photos'


def run(*args):
    return tool.main([*map(str, args)], lambda *a, **k: ColourSegmentor())


def sources(out):
    return sorted(record['source'] for record in read_records(out))


def failures(out):
    """Source and reason of each; the files are valid UTF-8."""
    for name in ('defects.jsonl', 'defects.csv', 'run.json', 'manifest.json'):
        (out / name).read_text(encoding='utf-8')
    path = out / 'failures.jsonl'
    lines = path.read_text(encoding='utf-8').splitlines() if path.exists() else []
    found = [json.loads(line) for line in lines]
    return [(entry['source'], entry['reason']) for entry in found]


def save(name, image, **options):
    return lambda folder: Image.fromarray(image).save(folder / name, **options)


def pages(name):
    images = [
        Image.fromarray(RNG.integers(0, 255, (48, 64, 3), np.uint8)) for _ in range(3)
    ]
    return lambda folder: images[0].save(
        folder / name, save_all=True, append_images=images[1:]
    )


def copied(name):
    return lambda folder: shutil.copyfile(
        folder / 'a.png', os.path.join(os.fsencode(folder), os.fsencode(name))
    )


def pipe(folder):
    os.mkfifo(folder / 'm.png')


def beside_a_folder_of_its_name(folder):
    (folder / 'm.png').mkdir()
    shutil.copyfile(folder / 'a.png', folder / 'm.png/x.png')
    cv2.imwrite(str(folder / 'm.bmp'), np.zeros((4, 4, 3), np.uint8))


@pytest.mark.parametrize(
    ('make', 'origin', 'reason'),
    [
        pytest.param(
            copied('\udcb3\udcc8.png'),
            r'\xb3\xc8.png',
            'its name is not valid UTF-8, so that no record can hold it; rename it',
            marks=linux,
        ),
        (pipe, 'm.png', 'no file, but a folder, pipe or device'),
        (beside_a_folder_of_its_name, 'm.png/x.png', 'cannot be written'),
        (save('m.png', DEEP), 'm.png', '16 bits a channel, values 0 to 4095; expect'),
        (save('m.tif', DEEP), 'm.tif', '16 bits a channel, values 0 to 4095; expect'),
        (pages('m.tif'), 'm.tif', '3 pages or frames in one file; expected one'),
        (pages('m.png'), 'm.png', '3 pages or frames in one file; expected one'),
        (pages('m.webp'), 'm.webp', '3 pages or frames in one file; expected one'),
    ],
)
def test_failing_files(photos, tmp_path, capsys, make, origin, reason):
    make(photos)
    others = ['a.png', 'z.png']
    if (photos / 'm.bmp').exists():
        others.insert(1, 'm.bmp')
    for done in (len(others), 0):
        assert run('m', photos, '--out', tmp_path / 'out') == 1
        said = capsys.readouterr()
        assert f'{done} frames into' in said.out
        assert f'1 could not be predicted on:\n  {origin}: ' in said.err
        assert reason in said.err
        assert sources(tmp_path / 'out') == others
        ((found, why),) = failures(tmp_path / 'out')
        assert found == origin
        assert reason in why
        assert report(tmp_path / 'out')['status'] == 'complete'
        # of the failed one nothing is left
        left = [path.name for path in (tmp_path / 'out').rglob('.*.tmp*')]
        assert not left


@pytest.mark.parametrize(
    ('make', 'name', 'classes'),
    [
        (save('m.png', np.full((1, 1, 3), (0, 255, 0), np.uint8)), 'm.png', (1, 0)),
        (save('m.png', np.full((4, 1, 3), (0, 255, 0), np.uint8)), 'm.png', (4, 0)),
        (save('m.png', np.full((1, 3, 3), (255, 0, 0), np.uint8)), 'm.png', (0, 3)),
        pytest.param(
            copied('m\r\n\x1b[31m.png'), 'm\r\n\x1b[31m.png', (64, 40), marks=linux
        ),
        # where the name of a temporary file would be too long
        (copied('m' * 251 + '.png'), 'm' * 251 + '.png', (64, 40)),
    ],
)
def test_odd_files_that_are_done(photos, tmp_path, make, name, classes):
    make(photos)
    assert run('m', photos, '--out', tmp_path / 'out') == 0
    record = cases['records'](tmp_path / 'out')[name, None]
    pixels = tuple(record['classes'][key]['pixels'] for key in ('ulcer', 'rust'))
    assert pixels == classes
    mask = Image.open(tmp_path / 'out' / record['mask'])
    assert mask.size == (record['width'], record['height'])
    # one line for each class, whatever the name
    table = (tmp_path / 'out/defects.csv').read_bytes()
    assert len(table.splitlines()) == 1 + 2 * 3
    assert run('m', photos, '--out', tmp_path / 'out') == 0
    assert report(tmp_path / 'out')['skipped'] == 3


def test_a_name_that_is_too_long_with_its_new_ending(photos, tmp_path):
    # two of one name need a longer one each
    long = 'm' * 251
    copied(f'{long}.png')(photos)
    cv2.imwrite(str(photos / f'{long}.bmp'), np.zeros((4, 4, 3), np.uint8))
    for _ in range(2):
        assert run('m', photos, '--out', tmp_path / 'out') == 1
        assert sources(tmp_path / 'out') == ['a.png', 'z.png']
        found = dict(failures(tmp_path / 'out'))
        assert set(found) == {f'{long}.png', f'{long}.bmp'}
        assert 'cannot be written (File name too long)' in found[f'{long}.png']


@pytest.mark.parametrize(
    ('kind', 'rows', 'limit'), [('jpg', 65_501, '65,500'), ('webp', 16_384, '16,383')]
)
def test_overlays_larger_than_their_format(photos, tmp_path, capsys, kind, rows, limit):
    cv2.imwrite(str(photos / 'm.png'), np.zeros((rows, 8, 3), np.uint8))
    out = tmp_path / 'out'
    assert run('m', photos, '--out', out, '--overlay-format', kind) == 0
    said = f'its overlay is a PNG, since {kind} ends at {limit} pixels a side'
    assert f'm.png: {said}\n' in capsys.readouterr().err
    assert report(out)['remarks'] == [['m.png', said]]
    found = {r['source']: r['overlay'] for r in read_records(out)}
    assert found == {
        'a.png': f'overlays/a.{kind}',
        'm.png': 'overlays/m.png',
        'z.png': f'overlays/z.{kind}',
    }
    assert cv2.imread(str(out / 'overlays/m.png')).shape == (rows, 8, 3)
    # at the limit it can
    cv2.imwrite(str(photos / 'm.png'), np.zeros((rows - 1, 8, 3), np.uint8))
    assert run('m', photos, '--out', out, '--overlay-format', kind) == 0
    assert (out / f'overlays/m.{kind}').stat().st_size
    assert report(out)['remarks'] == []


def test_depth(photos, tmp_path, capsys):
    out = tmp_path / 'out'
    bright = np.full((48, 64), 4095, np.uint16)
    save('m.png', bright)(photos)
    assert run('m', photos, '--out', out, '--depth', 12) == 0
    # white is both colours, and red is looked at last
    assert cases['records'](out)['m.png', None]['classes']['rust']['share'] == 1
    assert run('m', photos, '--out', out) == 2
    assert 'depth was 12, now it is null' in capsys.readouterr().err
    assert run('m', photos, '--out', out, '--depth', 10, '--overwrite') == 1
    assert failures(out) == [
        ('m.png', 'values up to 4095; expected 1023 at most with --depth 10')
    ]
    with pytest.raises(SystemExit):
        run('m', photos, '--out', out, '--depth', 8)
    assert '--depth is 8: expected 9 to 16' in capsys.readouterr().err


def test_results_of_an_earlier_run_are_no_photographs(photos, tmp_path, capsys):
    results = photos / 'line 1/results'
    assert run('m', photos, '--out', results) == 0
    assert run('m', photos, '--out', results) == 0
    assert capsys.readouterr().err == ''
    assert run('m', photos, '--out', tmp_path / 'out') == 0
    said = f'{results}: results of an earlier run, left out\n'
    assert capsys.readouterr().err == said
    assert sources(tmp_path / 'out') == ['a.png', 'z.png']
    # named by the user they are inputs
    assert run('m', results / 'overlays', '--out', tmp_path / 'other') == 0
    assert sources(tmp_path / 'other') == ['a.jpg', 'z.jpg']


@linux
def test_folders_that_are_no_utf8(photos, tmp_path, capsys):
    """Of the inputs and of the outputs; names of files are relative to them."""
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b'/\xb3\xc8'))
    shutil.copytree(photos, odd)
    for _ in range(2):
        assert run('m', odd, '--out', odd / 'out') == 0
        assert r'\xb3\xc8/out' in capsys.readouterr().out
    assert sources(odd / 'out') == ['a.png', 'z.png']
    # but a record of a file below it would have it in its name
    assert run('m', tmp_path, '--out', tmp_path / 'out') == 1
    assert [name for name, _ in failures(tmp_path / 'out')] == [
        r'\xb3\xc8/a.png',
        r'\xb3\xc8/z.png',
    ]
    assert sources(tmp_path / 'out') == ['photos/a.png', 'photos/z.png']


def test_consoles_of_another_character_set(photos, tmp_path, monkeypatch):
    content = io.BytesIO()
    monkeypatch.setattr(sys, 'stdout', io.TextIOWrapper(content, 'ascii'))
    out = tmp_path / '橙'
    assert run('m', photos, '--out', out) == 0
    sys.stdout.flush()
    assert rb'2 frames into ' in content.getvalue()
    assert rb'\u6a59' in content.getvalue()


def test_the_same_by_workers(photos, tmp_path):
    """What a worker of Ray gives back is what predict.py writes."""
    for make in (save('deep.png', DEEP), pages('pages.tif')):
        make(photos)
    cv2.imwrite(str(photos / 'long.png'), np.zeros((65_501, 8, 3), np.uint8))
    cv2.imwrite(str(photos / 'dot.png'), np.full((1, 1, 3), (0, 255, 0), np.uint8))
    for name in ('m' * 251 + '.png', 'm' * 251 + '.bmp'):
        shutil.copyfile(photos / 'a.png', photos / name)
    out = tmp_path / 'out'
    assert run('m', photos, '--out', out) == 1
    inputs = cases['find_inputs']([photos])
    with cases['RunFolder'](tmp_path / 'ray', {}) as folder:
        (folder.path / ray_worker.NOTES).mkdir()
        worker = ray_worker.RayWorker(
            ColourSegmentor,
            FrameSettings(),
            str(folder.path),
            (folder.path / 'manifest.json').read_bytes(),
        )
        batch = {
            key: np.array([getattr(s, key) for s in inputs.sources], dtype=object)
            for key in ('name', 'origin', 'path')
        }
        rows = [json.loads(row) for row in worker(batch)['row']]
    assert sorted(row['origin'] for row in rows if 'record' in row) == sources(out)
    failed = sorted(tuple(row['failure'][:2]) for row in rows if 'failure' in row)
    assert failed == sorted(failures(out))
    assert len(failed) == 4
    remarks = [[row['origin'], row['remark']] for row in rows if row.get('remark')]
    assert remarks == report(out)['remarks']
