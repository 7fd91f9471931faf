"""The table of a distillation's gradients before a training."""

import importlib.util
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from fastsegformer_cli.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
tiny = SimpleNamespace(**runpy.run_path(str(ROOT / 'tests/distillation/tiny.py')))


@pytest.fixture(autouse=True)
def one_thread():
    threads = tiny.torch.get_num_threads()
    tiny.torch.set_num_threads(1)
    yield
    tiny.torch.set_num_threads(threads)


@pytest.fixture
def config(tmp_path):
    """A config file whose training pipeline has nothing random."""
    data = tiny.write_data(tmp_path / 'data')
    cfg = tiny.runner_cfg(data, tmp_path / 'work')
    cfg.dump(str(tmp_path / 'distill.py'))
    return tmp_path / 'distill.py'


def call(monkeypatch, capsys, *arguments):
    """The cells of the table by their first one, and the lines after it."""
    tool = ROOT / 'tools' / COMMANDS['gradient-table'].script
    spec = importlib.util.spec_from_file_location('gradient_table', tool)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, 'argv', ['gradient_table.py', *map(str, arguments)])
    module.main()
    lines = capsys.readouterr().out.splitlines()
    rows = [[c.strip() for c in line.split('|')] for line in lines if '|' in line]
    last = max(i for i, line in enumerate(lines) if line.startswith('+-'))
    return {row[1]: row[2:-1] for row in rows}, lines[:2], lines[last + 1:]


def test_weights_out_of_proportion(config, monkeypatch, capsys):
    weight = 'model.distiller.distill_losses.loss_{}.loss_weight={}'
    options = [weight.format('first', 500.0), weight.format('logits', 1e-6)]
    table, head, said = call(
        monkeypatch, capsys, config, '--batches', 2, '--share', 0.25, '--cfg-options',
        *options)
    assert head[0] == str(config)
    assert head[1] == (
        '2 batches of 2, teacher with random weights, gradients at '
        'architecture.backbone.stem.conv')
    assert set(table) == {
        'loss', 'task', 'loss_first', 'loss_second', 'loss_logits', 'all of distill'}
    assert table['loss_first'][0] == '500.0'
    share = float(table['loss_first'][3])
    assert share > 3
    large = next(line for line in said if line.startswith('loss_first'))
    proposed = float(large.split('loss_weight=')[1].split()[0])
    assert proposed == pytest.approx(500 * 0.25 / share, rel=0.1)
    assert large.endswith('makes it 0.25')
    assert any(line.startswith('loss_logits: ') for line in said)
    # with what was proposed
    options[0] = weight.format('first', proposed)
    table, _, said = call(
        monkeypatch, capsys, config, '--batches', 2, '--cfg-options', *options)
    assert float(table['loss_first'][3]) == pytest.approx(0.25, rel=0.1)
    assert not any(line.startswith('loss_first') for line in said)


def test_same_figures_each_time_and_layer(config, monkeypatch, capsys):
    first, second, other = (
        call(monkeypatch, capsys, config, '--batches', 1, *more)
        for more in ([], [], ['--layer', 'architecture.backbone.project']))
    assert first == second
    assert other[1][1].endswith('gradients at architecture.backbone.project')
    # it is not behind this layer
    assert other[0]['loss_first'][2:] == ['-', '-', '-']
    assert 'loss_first does not reach the layer' in other[2]


def test_all_in_proportion(config, monkeypatch, capsys):
    weights = [
        f'model.distiller.distill_losses.loss_{name}.loss_weight={w}'
        for name, w in (('first', 0.1), ('second', 0.1), ('logits', 20.0))]
    _, _, said = call(
        monkeypatch, capsys, config, '--batches', 1, '--cfg-options', *weights)
    assert said == ["No loss is out of proportion to the task's."]


@pytest.mark.parametrize(('options', 'told'), [
    (['--cfg-options', 'model.allow_random_teacher=False'],
     'error: the teacher has no weights: set model.teacher_ckpt'),
    (['--layer', 'architecture.backbone.sten'], 'The nearest: architecture.backbone'),
    (['--cfg-options', 'model.calculate_student_loss=False'],
     'calculate_student_loss=False leaves them out')])
def test_refusals(config, monkeypatch, capsys, options, told):
    with pytest.raises(SystemExit, match=told):
        call(monkeypatch, capsys, config, *options)


def test_config_without_a_distillation(monkeypatch, capsys):
    alone = 'fastsegformer-e_efficientformerv2-s0_1xb8-300i_neu-seg-112x112.py'
    with pytest.raises(SystemExit, match='trains a EncoderDecoderWithImage'):
        call(monkeypatch, capsys, ROOT / 'configs/distill/small' / alone)


@pytest.mark.parametrize(('option', 'value'), [('--batches', 0), ('--share', -1)])
def test_arguments_out_of_range(config, monkeypatch, capsys, option, value):
    with pytest.raises(SystemExit):
        call(monkeypatch, capsys, config, option, value)
    assert f'{option} is {value}' in capsys.readouterr().err
