"""Order of the turns, what fails, what is compared: with stand-ins for processes."""

import itertools
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from fastsegformer_mm.deploy.benchmark.combination import (
    Combination,
    Model,
    combinations_of,
    pass_combinations,
    read_backends,
    read_models,
)
from fastsegformer_mm.deploy.errors import DeployError

case = SimpleNamespace(
    **runpy.run_path(str(Path(__file__).parent / 'benchmark_case.py'))
)
BACKENDS = [('openvino', 'fp32'), ('onnxruntime', 'fp32')]


def turns(process):
    return [call[1:] for call in process.calls if call[0] == 'measure']


def test_turns_are_rotated(tmp_path):
    process = case.FakeProcess.fresh()
    case.run_rounds(tmp_path, process, [case.network('a')], BACKENDS, rounds=3)
    torch, openvino, onnx = ('a', 'torch'), ('a', 'openvino'), ('a', 'onnxruntime')
    assert turns(process) == [
        *(torch, openvino, onnx),
        *(openvino, onnx, torch),
        *(onnx, torch, openvino),
    ]
    # all are ready before the first turn, and are told to end
    kinds = [call[0] for call in process.calls]
    assert kinds[: kinds.index('measure')] == ['start', 'load'] * 3
    assert process.alive == []


def test_the_last_comes_to_rest_before_the_next(tmp_path):
    process = case.FakeProcess.fresh(**{'openvino spins': True})
    rounds = case.run_rounds(tmp_path, process, [case.network('a')], BACKENDS, rounds=2)
    order = [call[::2] for call in process.calls if call[0] in ('measure', 'rest')]
    pairs = list(itertools.pairwise(order))
    waited = [who for who, (kind, _) in pairs if who[0] == 'measure' and kind == 'rest']
    assert len(waited) == 5
    assert all(a[1] == b[1] for a, b in pairs if b[0] == 'rest')
    assert [e.get('spins') for e in rounds.entries] == [None, True, None]


def test_warmups_threads_and_runs(tmp_path):
    process = case.FakeProcess.fresh()
    rounds = case.run_rounds(
        tmp_path, process, [case.network('a')], threads=3, warmups=70, runs=5, rounds=3,
        timeout=7.0, device='cuda:1', cfg_options={'a': 1},
    )  # fmt: skip
    asked = [arguments for do, arguments in process.asked if do == 'measure']
    assert [a['warmups'] for a in asked] == [70, 7, 7]
    assert [a['runs'] for a in asked] == [5, 5, 5]
    (entry,) = rounds.entries
    assert [len(one['network']) for one in entry['rounds']] == [5, 5, 5]
    assert process.calls[0] == ('start', '01.txt', 3, 7.0)
    load = process.asked[0][1]
    assert (load['threads'], load['device']) == (3, 'cuda:1')
    assert load['cfg_options'] == {'a': 1}


def test_few_warmups_are_refused():
    with pytest.raises(DeployError, match=r'--warmups 49: expected at least 50'):
        case.settings(warmups=49)
    assert case.settings(warmups=50).trial is False
    trial = case.settings(warmups=4, trial=True)
    assert trial.warmups_again == 3
    for name in ('threads', 'runs', 'rounds'):
        with pytest.raises(DeployError, match=f'--{name} 0: expected at least 1'):
            case.settings(**{name: 0})
    for streams in (3, 0):
        message = f'--streams {streams} with --threads 2: expected at least 1, and at'
        with pytest.raises(DeployError, match=message):
            case.settings(threads=2, streams=[1, streams])


@pytest.mark.parametrize('when', ['load', 'measure', 'outputs'])
def test_a_failure_does_not_stop_the_others(tmp_path, when):
    process = case.FakeProcess.fresh(**{f'openvino {when}': case.FAILURE})
    rounds = case.run_rounds(tmp_path, process, [case.network('a')], BACKENDS, rounds=2)
    torch, openvino, onnx = rounds.entries
    assert openvino['status'] == 'failed'
    assert openvino['reason'] == 'this runtime has no bf16'
    assert any('FAILED: this runtime has no bf16' in line for line in rounds.said)
    assert len(openvino['rounds']) == 2 * (when == 'outputs')
    for entry in (torch, onnx):
        assert entry['status'] == 'measured'
        assert len(entry['rounds']) == 2
        assert entry['agreement']['frames'] == 1
    assert process.alive == []


def test_agreement_is_with_eager_of_the_same_network(tmp_path):
    process = case.FakeProcess.fresh()
    rounds = case.run_rounds(tmp_path, process, [case.network('a')], BACKENDS)
    torch, openvino, _ = (e['agreement'] for e in rounds.entries)
    assert torch == dict(frames=1, equal_pixels=1.0, logit_difference=0.0)
    assert openvino == dict(frames=1, equal_pixels=0.75, logit_difference=0.0)
    # without eager there is nothing to compare with
    chosen = [Combination(case.network('a'), 'openvino')]
    rounds = case.run_rounds(tmp_path, process, [], chosen=chosen)
    assert 'agreement' not in rounds.entries[0]


def test_miou_of_each_runtime(tmp_path):
    process = case.FakeProcess.fresh(**{'onnxruntime evaluate': case.FAILURE})
    models = [case.network('a'), case.network('b', None)]
    rounds = case.run_rounds(tmp_path, process, models, BACKENDS, evaluate=True)
    torch, openvino, onnx, *random = rounds.entries
    assert (torch['miou'], openvino['miou']) == (60.0, 62.0)
    assert openvino['test'] == dict(mIoU=62.0, images=1, equal_pixels=0.8)
    # the times of one that cannot be evaluated are good
    assert (onnx['status'], onnx.get('miou')) == ('measured', None)
    assert onnx['no_miou'] == 'this runtime has no bf16'
    assert {e['no_miou'] for e in random} == {'random weights'}
    assert ('evaluate', 'b', 'torch') not in process.calls
    assert rounds.models['b']['random_weights']
    assert not rounds.models['a']['random_weights']
    assert rounds.models['a']['parameters'] == 7
    assert rounds.models['a']['macs'] == 9

    process = case.FakeProcess.fresh()
    case.run_rounds(tmp_path, process, models)
    assert 'evaluate' not in [call[0] for call in process.calls]


def test_an_artefact_belongs_to_its_network(tmp_path):
    class Exported(case.FakeProcess):
        def load(self, combination, **kwargs):
            reply = super().load(combination)
            if combination['precision'] == 'auto':
                sha256 = 'other' if self.name == 'stranger' else 'abc'
                reply['card'] = {
                    **reply['card'], 'name': 'a', 'sha256': sha256, 'checkpoint': 'x',
                }  # fmt: skip
            return reply

    process = Exported.fresh()
    models = [case.network('a'), Model('q', 'q.xml'), Model('stranger', 's.xml')]
    rounds = case.run_rounds(tmp_path, process, models)
    _, own, stranger = rounds.entries
    assert (own['model'], own['backend'], own['precision']) == (
        'a', 'openvino', 'int8',
    )  # fmt: skip
    assert own['agreement']['equal_pixels'] == 0.75
    # other weights are another network: nothing to compare with
    assert stranger['model'] == 'a (s.xml)'
    assert 'agreement' not in stranger


def test_one_model_at_a_time(tmp_path):
    process = case.FakeProcess.fresh()
    models = [case.network('a'), case.network('b')]
    rounds = case.run_rounds(tmp_path, process, models, BACKENDS[:1], rounds=2,
                             one_model_at_a_time=True)  # fmt: skip
    names = [name for name, _ in turns(process)]
    assert names == ['a'] * 4 + ['b'] * 4
    assert [e['group'] for e in rounds.entries] == [0, 0, 1, 1]
    together = case.FakeProcess.fresh()
    case.run_rounds(tmp_path, together, models, BACKENDS[:1], rounds=1)
    assert [name for name, _ in turns(together)] == ['a', 'a', 'b', 'b']


def test_ctrl_c_keeps_what_there_is_and_ends_the_processes(tmp_path):
    class Interrupted(case.FakeProcess):
        def measure(self, **kwargs):
            if len(turns(self)) == 5:
                raise KeyboardInterrupt
            return super().measure(**kwargs)

    process = Interrupted.fresh()
    saved = []
    rounds = case.Rounds(
        case.settings(rounds=4), tmp_path, tmp_path, saved.append, process,
        lambda: saved.append([len(e['rounds']) for e in rounds.entries]),
    )  # fmt: skip
    chosen = combinations_of([case.network('a')], BACKENDS)
    with pytest.raises(KeyboardInterrupt):
        rounds.run(chosen, case.np.zeros((1, 4, 4, 3), 'uint8'))
    assert process.alive == []
    assert [len(e['rounds']) for e in rounds.entries] == [1, 2, 1]
    assert saved[-2] == [1, 2, 1]


def test_models_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = 'fastsegformer-e_efficientformerv2-s0_1xb8-300i_neu-seg-112x112.py'
    two = 'fastsegformer-e_efficientformerv2-s0_1xb32-100e_neu-seg-224x224.py'
    rival = 'pidnet-s_1xb32-100e_neu-seg-224x224.py'
    for name in (one, two, rival, 'a.pth', 'b.pth', 'e.xml', 'e.onnx'):
        Path(name).touch()
    found = read_models([f'{one}=a.pth', rival, 'e.xml', 'e.onnx'])
    assert [m.name for m in found] == ['fastsegformer-e', 'pidnet-s', 'e', 'e']
    assert [m.checkpoint for m in found] == ['a.pth', None, None, None]
    assert [m.artefact for m in found] == [False, False, True, True]
    labels = [c.label for c in combinations_of(found[:0:-1], [('openvino', 'bf16')])]
    assert labels == [
        'pidnet-s / torch:fp32',
        'pidnet-s / openvino:bf16',
        'e (e.onnx) / onnxruntime:auto',
        'e (e.xml) / openvino:auto',
    ]
    # names of their own, by as little as it takes
    assert [m.name for m in read_models([one, two])] == [one[:-3], two[:-3]]
    names = [m.name for m in read_models([f'{one}=a.pth', f'{one}=b.pth'])]
    assert names == [f'{one[:-3]}=a', f'{one[:-3]}=b']
    # an artefact has weights, though no checkpoint is named
    artefact = f'{one[:-3]}.xml'
    Path(artefact).touch()
    names = [m.name for m in read_models([f'{one}=a.pth', artefact])]
    assert names == ['fastsegformer-e', f'{one[:-3]}=xml']
    for spec, message in (
        ('a.pth', 'a.pth: expected CONFIG.py'),
        ('none.py', 'none.py: there is no such file'),
        (f'{one}=none.pth', 'none.pth: there is no such file'),
        ('e.xml=a.pth', 'an artefact has its weights in it'),
    ):
        with pytest.raises(DeployError, match=message):
            read_models([spec])


def test_backends_from_the_command_line():
    assert read_backends(['reference', 'openvino'], ['fp32', 'bf16']) == [
        ('reference', 'fp32'), ('openvino', 'fp32'), ('openvino', 'bf16'),
    ]  # fmt: skip
    assert read_backends(['torch:bf16', 'torch:bf16'], ['int8']) == [('torch', 'bf16')]
    for spec, message in (
        ('tensorrt', 'expected one of reference, torch'),
        ('openvino:fp8', "precision 'fp8': expected one of fp32"),
        ('reference:bf16', 'the reference loop is in fp32'),
    ):
        with pytest.raises(DeployError, match=message):
            read_backends([spec], ['fp32'])


def test_combinations_with_streams():
    models = [case.network('a'), Model('a', 'a.xml')]
    pairs = [('reference', 'fp32'), ('openvino', 'bf16'), ('onnxruntime', 'fp32')]
    chosen = combinations_of(models, pairs, streams=[1, 2])
    assert [(c.backend, c.precision, c.streams) for c in chosen] == [
        ('torch', 'fp32', 0), ('reference', 'fp32', 0),
        *(('openvino', 'bf16', streams) for streams in range(3)),
        *(('onnxruntime', 'fp32', streams) for streams in range(3)),
        *(('openvino', 'auto', streams) for streams in range(3)),
    ]  # fmt: skip
    assert len({c.label for c in chosen}) == 11
    assert [c.label for c in chosen[2:5]] == [
        'a / openvino:bf16',
        'a / openvino:bf16 / 1 stream',
        'a / openvino:bf16 / 2 streams',
    ]
    assert [c.streams for c in combinations_of(models, pairs)] == [0] * 5


def test_combinations_of_passes():
    chosen = pass_combinations(
        [case.network('a')], [('openvino', 'fp32')], ('fold', 'move')
    )
    assert [(c.backend, c.passes) for c in chosen] == [
        (backend, passes)
        for backend in ('torch', 'openvino')
        for passes in ((), ('fold',), ('fold', 'move'))
    ]
    assert [c.baseline for c in chosen] == [True] + [False] * 5
    assert len({c.label for c in chosen}) == 6
    with pytest.raises(DeployError, match=r'e.xml: the passes of an artefact are done'):
        pass_combinations([Model('e', 'e.xml')], [], ('fold',))
    with pytest.raises(DeployError, match='--passes --backends reference'):
        pass_combinations([case.network('a')], [('reference', 'fp32')], ('fold',))
