"""The NEU-Seg converter, on small synthetic zips and folders."""

import importlib.util
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PATH = Path(__file__).parents[2] / 'tools/dataset_converters/neu_seg.py'
spec = importlib.util.spec_from_file_location('neu_seg_converter', PATH)
neu_seg = importlib.util.module_from_spec(spec)
spec.loader.exec_module(neu_seg)


def encode(array, kind):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


def jpg(side=6, value=100):
    return encode(np.full((side, side, 3), value, np.uint8), 'JPEG')


def png(*values, side=6):
    flat = np.resize(np.array(values, np.uint8), side * side)
    return encode(flat.reshape(side, side), 'PNG')


def content(root='NEU_Seg', train=20, test=3):
    """Files of a small set; the defects of image i are those of i % 4."""
    files = {}
    for split, count in (('training', train), ('test', test)):
        for i in range(count):
            files[f'{root}/images/{split}/{i:03}.jpg'] = jpg(value=i)
            files[f'{root}/annotations/{split}/{i:03}.png'] = png(0, i % 4)
    return files


def make_zip(path, files):
    with zipfile.ZipFile(path, 'w') as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def make_folder(path, files):
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def names(folder):
    return sorted(p.stem for p in folder.iterdir())


def fails(*args, **kwargs):
    with pytest.raises(SystemExit) as caught:
        neu_seg.convert(*args, **kwargs)
    return str(caught.value)


def test_zip_and_folder_give_the_same(tmp_path, capsys):
    files = content()
    archive = make_zip(tmp_path / 'a.zip', {
        'NEU_Seg/': b'', '__MACOSX/NEU_Seg/images/test/._000.jpg': b'?', **files})
    neu_seg.main([str(archive), str(tmp_path / 'out/one')])
    assert 'train 18, val 2, test 3' in capsys.readouterr().out
    counts = neu_seg.convert(make_folder(tmp_path / 'src', files), tmp_path / 'two')
    assert counts == {'train': 18, 'val': 2, 'test': 3}
    one, two = tmp_path / 'out/one', tmp_path / 'two'
    found = sorted(p.relative_to(one) for p in one.rglob('*.*'))
    assert len(found) == 2 * 23
    for path in found:
        assert (one / path).read_bytes() == (two / path).read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ['a.zip', 'out', 'src', 'two']
    assert [p.name for p in (tmp_path / 'out').iterdir()] == ['one']


def test_files_are_copied_byte_for_byte_and_test_stays_test(tmp_path):
    files = content()
    root = tmp_path / 'out'
    neu_seg.convert(make_zip(tmp_path / 'a.zip', files), root)
    for name, data in files.items():
        _, kind, split, file = name.split('/')
        targets = ('test',) if split == 'test' else ('train', 'val')
        copies = [root / kind / t / file for t in targets
                  if (root / kind / t / file).exists()]
        assert [copy.read_bytes() for copy in copies] == [data]
    for split in ('train', 'val', 'test'):
        assert names(root / 'images' / split) == names(root / 'annotations' / split)


def test_val_is_seeded_and_proportional(tmp_path):
    source = make_folder(tmp_path / 'src', content(train=40))
    vals = []
    for i, seed in enumerate((0, 0, 1)):
        neu_seg.convert(source, tmp_path / str(i), val_ratio=0.2, seed=seed)
        vals.append(names(tmp_path / str(i) / 'images/val'))
    assert vals[0] == vals[1] != vals[2]
    # 40 images, ten of each defect, a fifth of each
    assert sorted(int(name) % 4 for name in vals[0]) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert neu_seg.convert(source, tmp_path / 'all', val_ratio=0)['train'] == 40
    assert list((tmp_path / 'all/images/val').iterdir()) == []


def enlarged():
    """Ten pictures in four orientations each, number 0 to 3 those of picture 0.

    Those of picture 9 are in the test split once, and in training three times.
    """
    rng = np.random.default_rng(0)
    files = {}
    for picture in range(10):
        grain = np.kron(rng.integers(60, 200, (16, 16)), np.ones((4, 4)))
        label = np.zeros((64, 64), np.uint8)
        label[:8, :20] = 1 + picture % 3
        for turn in range(4):
            split = 'test' if (picture, turn) == (9, 2) else 'training'
            name = f'{4 * picture + turn:03}'
            image = np.rot90(grain, turn).astype(np.uint8)[..., None].repeat(3, 2)
            files[f'images/{split}/{name}.jpg'] = encode(image, 'JPEG')
            files[f'annotations/{split}/{name}.png'] = encode(
                np.rot90(label, turn).copy(), 'PNG')
    return files


def test_copies_are_kept_apart(tmp_path):
    source = make_folder(tmp_path / 'src', enlarged())
    counts = neu_seg.convert(
        source, tmp_path / 'dst', val_ratio=1 / 3, without_copies=True)
    assert counts == {'train': 24, 'val': 12, 'test': 1}
    split = {part: {int(n) for n in names(tmp_path / 'dst/images' / part)}
             for part in counts}
    assert split['test'] == {38}
    assert split['train'] | split['val'] == set(range(36))
    assert {n // 4 for n in split['train']}.isdisjoint(n // 4 for n in split['val'])
    # a third of the pictures with each defect
    assert sorted(n // 4 % 3 for n in split['val']) == [0] * 4 + [1] * 4 + [2] * 4
    assert names(tmp_path / 'dst/annotations/val') == names(
        tmp_path / 'dst/images/val')
    assert names(tmp_path / 'dst/annotations/train') == names(
        tmp_path / 'dst/images/train')


def test_copies_are_where_they_were_unless_asked_for(tmp_path):
    source = make_folder(tmp_path / 'src', enlarged())
    counts = neu_seg.convert(source, tmp_path / 'dst', val_ratio=1 / 3)
    assert counts == {'train': 26, 'val': 13, 'test': 1}
    pictures = {int(n) // 4 for n in names(tmp_path / 'dst/images/val')}
    assert pictures & {int(n) // 4 for n in names(tmp_path / 'dst/images/train')}


@pytest.mark.parametrize('ratio', [-0.1, 1.0])
def test_bad_ratio(tmp_path, ratio):
    assert f'--val-ratio is {ratio}' in fails(tmp_path, tmp_path / 'x', ratio)


def broken(name, data):
    files = content()
    files[f'NEU_Seg/{name}'] = data
    return files


@pytest.mark.parametrize(('files', 'message'), [
    (broken('annotations/training/001.png', png(0, side=5)),
     'training/001: image 6x6, label 5x5'),
    (broken('annotations/training/001.png', png(0, 4)),
     'training/001: label value 4, expected 0 to 3'),
    (broken('annotations/test/001.png', jpg()),
     'test/001: label mode RGB, expected 8-bit indices'),
    (broken('images/training/001.jpg', jpg(side=64)[:-300]),
     'training/001: cannot be decoded'),
    (broken('images/training/new.jpg', jpg()),
     'images/training/new.jpg: no annotations/training/new.png'),
    (broken('annotations/test/new.png', png(0)),
     'annotations/test/new.png: no images/test/new.jpg'),
    (broken('images/training/001.JPG', jpg()),
     'NEU_Seg/images/training/001.JPG have one name: take one away'),
    ({**content(), **content('other')}, 'holds NEU-Seg more than once'),
    ({k: v for k, v in content().items() if '/test/' not in k},
     'has no images/test/*.jpg'),
    ({'readme.txt': b''}, 'has no images/training/*.jpg'),
])
def test_faults_are_named_and_nothing_is_written(tmp_path, files, message):
    source = make_zip(tmp_path / 'a.zip', files)
    text = fails(source, tmp_path / 'out')
    assert message in text
    assert str(source) in text
    assert [p.name for p in tmp_path.iterdir()] == ['a.zip']


@pytest.mark.parametrize('call', ['read_bytes', 'scandir'])
def test_what_cannot_be_read_is_named(tmp_path, monkeypatch, call):
    source = make_folder(tmp_path / 'in', content())
    plain = getattr(Path if call == 'read_bytes' else os, call)
    odd = '001.jpg' if call == 'read_bytes' else 'training'

    def refuse(path, *args):
        if str(path).endswith(odd):
            raise PermissionError(13, 'Permission denied', str(path))
        return plain(path, *args)

    monkeypatch.setattr(Path if call == 'read_bytes' else os, call, refuse)
    text = fails(source, tmp_path / 'out')
    if call == 'read_bytes':
        assert 'training/001: cannot be read (Permission denied)' in text
        assert 'test/001: cannot be read' in text
    else:
        assert 'training cannot be read (Permission denied)' in text
    assert [p.name for p in tmp_path.iterdir()] == ['in']


def test_many_faults_are_counted(tmp_path):
    files = content()
    for i in range(12):
        files[f'NEU_Seg/annotations/training/{i:03}.png'] = png(9)
    text = fails(make_zip(tmp_path / 'a.zip', files), tmp_path / 'out')
    assert '12 problem(s), nothing was written' in text
    assert 'and 2 more' in text


@pytest.mark.parametrize('name', [
    '../../evil.jpg', '/tmp/evil.jpg', 'NEU_Seg/images/training/..\\evil.jpg'])
def test_unsafe_paths(tmp_path, name):
    archive = make_zip(tmp_path / 'a.zip', {**content(), name: jpg()})
    assert 'holds the unsafe path' in fails(archive, tmp_path / 'sub/out')
    assert [p.name for p in tmp_path.iterdir()] == ['a.zip']


def test_damaged_or_absent_source(tmp_path):
    bad = tmp_path / 'a.zip'
    bad.write_bytes(b'not a zip')
    assert 'cannot be read as a zip' in fails(bad, tmp_path / 'out')
    good = make_zip(bad, content())
    data = bytearray(good.read_bytes())
    start = data.index(b'\xff\xd8\xff')  # a pixel of the first image
    data[start + 30] ^= 255
    good.write_bytes(data)
    assert '000.jpg cannot be unpacked' in fails(good, tmp_path / 'out')
    assert 'does not exist' in fails(tmp_path / 'none.zip', tmp_path / 'out')
    assert [p.name for p in tmp_path.iterdir()] == ['a.zip']


def test_existing_target(tmp_path):
    source = make_folder(tmp_path / 'src', content())
    out = tmp_path / 'out'
    neu_seg.convert(source, out, seed=0)
    before = names(out / 'images/val')
    assert 'replace it with --force' in fails(source, out, seed=5)
    assert names(out / 'images/val') == before
    neu_seg.convert(source, out, seed=5, force=True)
    assert names(out / 'images/val') != before
    # a run that fails leaves what was there
    (source / 'NEU_Seg/images/test/000.jpg').write_bytes(b'')
    now = names(out / 'images/val')
    fails(source, out, force=True)
    assert names(out / 'images/val') == now
    assert sorted(p.name for p in tmp_path.iterdir()) == ['out', 'src']


def test_force_replaces_only_its_own(tmp_path):
    source = make_folder(tmp_path / 'src', content())
    home = make_folder(tmp_path / 'home', {'thesis.tex': b'years'})
    assert "holds 'thesis.tex'" in fails(source, home, force=True)
    assert (home / 'thesis.tex').read_bytes() == b'years'
    assert 'is or holds the source' in fails(source, source, force=True)
    assert 'is or holds the source' in fails(source, tmp_path, force=True)
    assert len(list(source.rglob('*.jpg'))) == 23


def test_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    source = make_folder(tmp_path / 'src', content())
    calls = []

    def interrupt(*args):
        calls.append(args)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return '', (0,)

    monkeypatch.setattr(neu_seg, 'check_pair', interrupt)
    with pytest.raises(KeyboardInterrupt):
        neu_seg.convert(source, tmp_path / 'out')
    assert [p.name for p in tmp_path.iterdir()] == ['src']
