"""The command: what it prints, writes, and exits with."""

import importlib.util
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

TESTS = Path(__file__).parents[1]
TOOL = TESTS.parent / 'tools/analysis_tools/check_dataset.py'
tiny = runpy.run_path(str(TESTS / 'datasets/checks/tiny_set.py'))
spec = importlib.util.spec_from_file_location('check_dataset', TOOL)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


@pytest.fixture
def config(tmp_path):
    """A config file of a sound set."""
    tiny['make'](tmp_path / 'set')
    cfg = tiny['config'](tmp_path / 'set')
    path = tmp_path / 'config.py'
    cfg.dump(path)
    return path


def break_label(config, split='train'):
    label = tiny['paths'](config.parent / 'set', split, f'{split}0')[1]
    Image.fromarray(tiny['stripes']() + 1).save(label)
    return label


def run(capsys, *args):
    code = tool.main([*map(str, args), '--processes', '1'])
    return code, capsys.readouterr().out


def test_sound(config, capsys):
    code, out = run(capsys, config)
    assert code == 0
    assert '0 error(s), 0 warning(s); looked into all 6 pairs in ' in out
    assert not any(word in out for word in ('error:', 'warning:', 'report:', 'JSON:'))


def test_errors_and_json(config, capsys, tmp_path):
    label = break_label(config)
    code, out = run(capsys, config, '--json', tmp_path / 'found.json')
    assert code == 1
    assert f'error: train: label-out-of-range: {label}: values 4 (25.0 %)' in out
    content = json.loads((tmp_path / 'found.json').read_text())
    assert [p['file'] for p in content['problems']] == [str(label)]
    assert content['config'] == str(config)
    # the other splits are sound; and what is meant to be so can be passed over
    assert run(capsys, config, '--split', 'val,test')[0] == 0
    assert run(capsys, config, '--ignore', 'label-out-of-range')[0] == 0


def test_warnings_alone_exit_with_0(config, capsys):
    image = tiny['paths'](config.parent / 'set', 'val', 'val0')[0]
    image.with_suffix('.bmp').write_bytes(b'')
    code, out = run(capsys, config)
    assert code == 0
    assert 'warning: val: wrong-suffix: ' in out


def test_sample_and_show(config, capsys):
    for split in ('train', 'val', 'test'):
        break_label(config, split)
    code, out = run(capsys, config, '--sample', 1, '--show', 2)
    assert code == 1
    assert out.count('error: ') == 3
    assert 'error: label-out-of-range: ... and 1 more' in out
    assert 'looked into 3 of 6 pairs' in out


def test_cfg_options(config, capsys):
    option = 'model.decode_head.num_classes=7'
    code, out = run(capsys, config, '--split', 'train', '--cfg-options', option)
    assert code == 1
    assert 'error: num-classes: model.decode_head.num_classes: 7, expected 4' in out


def test_report(config, capsys, tmp_path, monkeypatch):
    """The page itself is tested with what writes it."""
    written = []

    def write_html(report, path):
        written.append(report)
        return path

    stand_in = type(sys)('html_report')
    stand_in.write_html = write_html
    monkeypatch.setitem(
        sys.modules, 'fastsegformer_mm.datasets.checks.html_report', stand_in)
    code, out = run(capsys, config, '--fix-report', tmp_path / 'out.html')
    assert code == 0
    assert f'report: {tmp_path / "out.html"}' in out.replace('\n', '')
    assert [r.config for r in written] == [str(config)]


@pytest.mark.parametrize(('args', 'message'), [
    (['nowhere.py'], 'error: nowhere.py: no such config file\n'),
    (['CONFIG', '--split', 'train,holdout'], 'has no holdout_dataloader'),
    (['CONFIG', '--processes', '0'], '--processes is 0: expected 1 or more'),
    (['CONFIG', '--sample', '0'], '--sample is 0: expected 1 or more'),
    (['CONFIG', '--show', '0'], '--show is 0: expected 1 or more'),
    (['BROKEN'], 'cannot be read: '),
    (['NONE'], 'has no dataloader to check'),
])
def test_what_cannot_be_checked_exits_with_2(config, capsys, tmp_path, args, message):
    broken, none = tmp_path / 'broken.py', tmp_path / 'none.py'
    broken.write_text('a = (\n')
    none.write_text('a = 1\n')
    names = {'CONFIG': config, 'BROKEN': broken, 'NONE': none}
    with pytest.raises(SystemExit) as caught:
        tool.main([str(names.get(arg, arg)) for arg in args])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert 'Traceback' not in error


def test_a_check_that_fails_itself_exits_with_2(config, capsys, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError('disk on fire')

    monkeypatch.setattr('fastsegformer_mm.datasets.checks.check_dataset', fail)
    with pytest.raises(SystemExit) as caught:
        run(capsys, config)
    assert caught.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        'error: the check itself failed, OSError: disk on fire')


def test_as_a_command(config):
    break_label(config)
    done = subprocess.run(
        [sys.executable, str(TOOL), str(config), '--split', 'train', '--processes',
         '2'], capture_output=True, text=True, cwd=TESTS.parent, check=False)
    assert done.returncode == 1
    assert '1 error(s), 0 warning(s); looked into all 2 pairs in' in done.stdout


def test_names_that_cannot_be_printed(config, capsys, tmp_path):
    name = os.fsdecode('橙'.encode('gbk'))
    try:
        tiny['add'](tmp_path / 'set', 'train', name, tiny['photo']('x'))
    except (OSError, ValueError):
        pytest.skip('the file system allows no such name')
    page, table = tmp_path / 'page.html', tmp_path / 'table.json'
    code, out = run(capsys, config, '--fix-report', page, '--json', table)
    assert code == 1
    [line] = [line for line in out.splitlines() if line.startswith('error: ')]
    assert r'\xb3\xc8.jpg: the name is not UTF-8' in line
    assert '1 error(s), 0 warning(s); looked into all 7 pairs' in out
    assert r'\udcb3\udcc8.jpg' in page.read_text(encoding='utf-8')
    # JSON gives the name back as Python has it
    [problem] = json.loads(table.read_text(encoding='utf-8'))['problems']
    assert Path(problem['file']).name == f'{name}.jpg'
