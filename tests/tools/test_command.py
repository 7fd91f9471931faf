"""The command ``fastsegformer``: its subcommands, and what they share."""

import subprocess
import sys
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path

import pytest

from fastsegformer_cli import options
from fastsegformer_cli.commands import COMMANDS, GROUPS, tools_folder
from fastsegformer_cli.main import main
from fastsegformer_cli.stack_script import parse_alone

TOOLS = Path(__file__).parents[2] / 'tools'
HEAVY = ('torch', 'mmengine', 'mmcv', 'mmseg', 'mmrazor', 'cv2', 'numpy', 'PIL', 'rich')
# each ends by SystemExit before a package of the stack is imported
PROBE = """
import contextlib, io, sys
from fastsegformer_cli.main import main
heavy, *commands = sys.argv[1].split(' ')
for name in commands:
    said = io.StringIO()
    for word, expected in (('--help', 0), ('--no-such-option', 2)):
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                main([name, word])
            except SystemExit as error:
                assert error.code == expected, (name, word, error.code)
            else:
                raise AssertionError(f'{name} {word} went on')
    assert f'fastsegformer {name}' in said.getvalue(), (name, said.getvalue())
    found = sorted(set(heavy.split(',')) & set(sys.modules))
    assert not found, f'{name} --help imports {found}'
main(['--help'])
"""


def call(*arguments):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_help_and_wrong_arguments_import_nothing_heavy():
    done = call('-c', PROBE, ' '.join([','.join(HEAVY), *COMMANDS]))
    assert done.returncode == 0, done.stdout + done.stderr
    for title in GROUPS:
        assert f'\n{title}:\n' in done.stdout
    for name, command in COMMANDS.items():
        assert f'\n  {name} ' in done.stdout
        assert f' {command.summary}\n' in done.stdout


def test_every_script_is_a_subcommand():
    scripts = {
        path.relative_to(TOOLS).as_posix()
        for path in TOOLS.rglob('*.py')
        if path.parent.name != 'fastsegformer_cli'
    }
    assert {command.script for command in COMMANDS.values()} == scripts
    assert tools_folder() == TOOLS


def test_a_script_and_its_subcommand_are_the_same():
    by_script = call(TOOLS / 'dataset_converters/split_voc.py', 'absent')
    by_name = call('-m', 'fastsegformer_cli', 'split', 'absent')
    assert by_script.returncode == by_name.returncode == 1
    assert 'absent/JPEGImages has no *.jpg: expected a folder' in by_name.stderr
    assert by_name.stderr == by_script.stderr


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['pedict'], "error: no command 'pedict'; did you mean predict? fastsegformer"),
        (['check_data'], 'did you mean check-data?'),
        (['zzz'], "error: no command 'zzz'; fastsegformer --help lists all"),
        ([], 'usage: fastsegformer COMMAND'),
    ],
)
def test_what_is_no_command(arguments, words, capsys):
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


def test_choices_are_those_of_the_package():
    import runpy

    from fastsegformer_mm.deploy.benchmark import combination, settings
    from fastsegformer_mm.deploy.export.options import PRECISIONS, SUFFIX
    from fastsegformer_mm.deploy.page.limits import Limits
    from fastsegformer_mm.deploy.prediction.finish import FORMATS
    from fastsegformer_mm.deploy.prediction.options import (
        BROKE_OFF,
        FAILED,
        INTERRUPTED,
        USAGE,
    )
    from fastsegformer_mm.distillation.benchmark import VARIANTS

    def tool(name):
        return runpy.run_path(str(TOOLS / name))

    assert options.PRECISIONS == PRECISIONS == combination.PRECISIONS
    assert options.PICTURE_FORMATS == FORMATS
    numbers = [int(n) for n in options.EXIT_CODES.split() if n.isdigit()]
    assert numbers == [0, FAILED, USAGE, BROKE_OFF, INTERRUPTED]
    assert tool('deployment/export.py')['FORMATS'] == tuple(SUFFIX)
    benchmark = tool('analysis_tools/benchmark.py')
    assert benchmark['BACKENDS'] == combination.BACKENDS
    assert benchmark['DEFAULT_BACKENDS'] == combination.DEFAULT_BACKENDS
    assert benchmark['MIN_WARMUPS'] == settings.MIN_WARMUPS
    assert tool('analysis_tools/benchmark_distill.py')['VARIANTS'] == tuple(VARIANTS)
    limits = {
        name: (kind, default)
        for name, (kind, default, _) in tool('demo/app.py')['LIMITS'].items()
    }
    assert limits == {
        field.name: (field.type, field.default)
        for field in Limits.__dataclass_fields__.values()
    }


def test_pairs_are_read_as_mmengine_reads_them():
    parser = ArgumentParser()
    options.add_config_options(parser)
    words = [
        '--cfg-options',
        'a.b=1',
        'c=[x,2.5]',
        '--cfg-options',
        'd="[(1,2),(3,4)]"',
    ]
    pairs = parser.parse_args(words).cfg_options
    assert options.config_options(pairs) == {
        'a.b': 1,
        'c': ['x', 2.5],
        'd': [(1, 2), (3, 4)],
    }
    assert options.config_options(None) is None
    for text in ('a', '=1'):
        with pytest.raises(ArgumentTypeError, match=f"'{text}' is no KEY=VALUE"):
            options.pair(text)


def test_a_config_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = 'fastsegformer-e_efficientformerv2-s0_1xb32-100e_neu-seg-224x224.py'
    found = TOOLS.parent / 'configs' / 'fastsegformer' / name
    assert options.find_config(name) == str(found)
    assert options.find_config(f'elsewhere/{name}') == str(found)
    # in the folder it goes first; the others are left to the tool
    (tmp_path / name).touch()
    for text in (name, 'absent.py', 'adam_300i', 'model.onnx'):
        assert options.find_config(text) == text


@pytest.mark.parametrize('name', ['train.py', 'test.py'])
def test_options_of_the_stack(name, monkeypatch, capsys):
    """MMSegmentation's parse_args alone reads the command line."""
    import mmseg

    script = Path(mmseg.__file__).parent / '.mim' / 'tools' / name
    words = ['c.py', '--work-dir', 'out', '--cfg-options', 'a=1', 'b=[1,2]']
    words[1:1] = ['w.pth'] if name == 'test.py' else []
    monkeypatch.setattr(sys, 'argv', [name, *words])
    args = parse_alone(script)
    assert (args.config, args.work_dir) == ('c.py', 'out')
    assert args.cfg_options == ['a=1', 'b=[1,2]']
    monkeypatch.setattr(sys, 'argv', [name, *words, 'c'])
    with pytest.raises(SystemExit):
        parse_alone(script)
    assert "argument --cfg-options: 'c' is no KEY=VALUE" in capsys.readouterr().err
