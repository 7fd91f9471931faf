"""A file of NonFiniteLossHook gives the losses of the training again."""

import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from fastsegformer_mm.engine.checkpoint.errors import CheckpointError
from fastsegformer_mm.engine.non_finite.diagnosis import NonFiniteLossError
from fastsegformer_mm.engine.non_finite.replay import read_record, replay

tiny = SimpleNamespace(
    **runpy.run_path(str(Path(__file__).with_name('tiny_training.py'))))


@pytest.fixture(autouse=True)
def set_up(monkeypatch):
    monkeypatch.setattr(Config, 'pretty_text', property(lambda self: '# the config'))
    tiny.set_up()


def failed(folder, numbers, **kwargs):
    """The file of the iteration that has ended a training, and the runner."""
    runner = tiny.run(folder, numbers, {}, train=False, **kwargs)
    with pytest.raises(NonFiniteLossError):
        runner.train()
    (path,) = Path(folder, 'non_finite').iterdir()
    return path, runner


def build(**kwargs):
    return MODELS.build(dict(type='TinyTwoLosses', **kwargs))


def large(runner):
    """The auxiliary loss squares this; cross entropy bears it."""
    if runner.iter == 2:
        runner.model.stem[1].weight.data.fill_(1e25)


def test_the_file(tmp_path, nothing_allowed):
    """It is plain, and has the state of before the iteration."""
    states = []
    path, runner = failed(
        tmp_path, [1, -2], after=lambda r, _: states.append(tiny.state(r)))
    content = torch.load(path, weights_only=True)
    saved = content['state_dict']
    assert len(saved) == 9
    assert all(torch.equal(saved[k], states[-1][k]) for k in saved)
    assert content['buffers'] == dict(gain=torch.ones(1))
    assert (content['iteration'], content['epoch'], content['rank']) == (2, 1, 0)
    assert content['non_finite'] == ['loss_ce', 'loss_aux']
    assert set(content['losses']) == {'loss', 'loss_ce', 'loss_aux', 'acc'}
    assert content['learning_rate'] == dict(lr=[0.1])
    assert content['files'][1] == 'images/2-1.jpg (label labels/2-1.png)'
    assert content['config'] == '# the config'
    assert content['versions']['torch'] == torch.__version__
    assert content['autocast'] is None
    images = content['batch']['inputs']
    assert torch.equal(
        images[0], runner.train_dataloader.dataset[2]['inputs'])
    assert images[1].isnan().nonzero().tolist() == [[1, 2, 3]]


@pytest.mark.parametrize('change', ['nothing', 'eval', 'buffer', 'attribute'])
def test_same_values_and_the_module(tmp_path, change):
    """Dropout as in the training; what hooks have changed of the model as well."""

    def before(runner):
        large(runner)
        if change == 'eval':
            runner.model.drop.eval()
        if change == 'buffer':
            runner.model.gain.fill_(0.5)
        if change == 'attribute':
            runner.model.scale = 0.25

    path, _ = failed(tmp_path, [1, 2, 3, 4], before=before)
    content = read_record(path)
    result = replay(build(), content)
    assert result.reproduced
    assert content['losses']['loss_aux'] == tiny.INF
    assert math.isfinite(content['losses']['loss_ce'])
    assert result.losses['loss_ce'] == content['losses']['loss_ce']
    assert result.losses['loss_aux'] == tiny.INF
    origin = result.origin
    assert (origin.name, origin.kind, origin.own) == ('aux', 'Aux', True)
    assert origin.inputs.startswith('0 to ')
    assert origin.inputs.endswith('e+25')
    assert origin.outputs == 'no finite value, 1 infinite'
    assert result.bad_weights == []
    # another state of the generators is another dropout
    if change == 'nothing':
        torch.manual_seed(5)
        other = replay(build(), dict(content, random_state=None))
        assert other.losses['loss_ce'] != content['losses']['loss_ce']


def test_reduced_precision(tmp_path):
    class Half:
        """What the AMP wrapper does on a GPU."""

        def __init__(self, wrapper):
            self.inner = wrapper.optim_context

        def __call__(self, model):
            return torch.autocast('cpu', dtype=torch.bfloat16)

    def before(runner):
        large(runner)
        runner.optim_wrapper.optim_context = Half(runner.optim_wrapper)

    path, _ = failed(tmp_path, [1, 2, 3], before=before)
    content = read_record(path)
    assert content['autocast'] == dict(dtype='bfloat16')
    expected = content['losses']['loss_ce']
    assert replay(build(), content).losses['loss_ce'] == expected
    full = replay(build(), dict(content, autocast=None))
    assert full.losses['loss_ce'] != expected
    assert full.reproduced


def test_inside_a_module_of_others(tmp_path):
    def before(runner):
        runner.model.scale = tiny.INF

    path, _ = failed(tmp_path, [1], before=before)
    origin = replay(build(), read_record(path)).origin
    assert (origin.name, origin.kind, origin.own) == ('', 'TinyTwoLosses', False)


def test_first_module_in_the_forward_order(tmp_path):
    """Of an image with a value too large for the weights."""
    path, _ = failed(tmp_path, [1, -2], value=3e38, before=tiny.enlarge)
    result = replay(build(), read_record(path))
    assert (result.origin.name, result.origin.kind) == ('stem.0', 'Conv2d')
    assert result.inputs.endswith(' to 3e+38')
    assert result.origin.inputs == result.inputs
    assert result.origin.outputs.endswith(' infinite')


def test_what_was_broken_before(tmp_path):
    path, _ = failed(tmp_path / 'image', [-1])
    result = replay(build(), read_record(path))
    assert result.reproduced
    assert result.origin is None
    assert result.inputs.endswith(', 1 NaN')

    def before(runner):
        runner.model.head.bias.data[0] = tiny.NAN

    path, _ = failed(tmp_path / 'weights', [1], before=before)
    result = replay(build(), read_record(path))
    assert result.origin is None
    assert result.bad_weights == ['head.bias (1 of 3 values)']


def test_not_reproduced(tmp_path):
    path, _ = failed(tmp_path, [-1])
    content = read_record(path)
    content['batch']['inputs'][1].nan_to_num_(0)
    result = replay(build(), content)
    assert not result.reproduced
    assert math.isfinite(result.losses['loss'])


def test_refuses(tmp_path):
    path, _ = failed(tmp_path, [1, -2])
    with pytest.raises(CheckpointError, match=r'iter_1\.pth is not a file of NonFin'):
        read_record(tmp_path / 'iter_1.pth')
    with pytest.raises(FileNotFoundError, match='absent'):
        read_record(tmp_path / 'absent.pth')
    content = read_record(path)
    other = build()
    other.head = torch.nn.Conv2d(4, 7, 1)
    with pytest.raises(CheckpointError, match='not of this TinyTwoLosses: give the'):
        replay(other, content)
    with pytest.raises(CheckpointError, match='has no weights'):
        replay(build(), dict(content, state_dict=None))
