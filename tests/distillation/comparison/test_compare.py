"""Whole comparisons of tiny networks: what is run, resumed, refused and reported."""

import os
import runpy
import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from fastsegformer_mm.distillation.comparison import ComparisonError, StepCostHook
from fastsegformer_mm.distillation.comparison.compare import locked
from fastsegformer_mm.distillation.comparison.queue import Process
from fastsegformer_mm.distillation.comparison.results import read_json, write_json

case = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / 'case.py')))
set_up = case.set_up


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return case.write_data(tmp_path_factory.mktemp('data') / 'data')


@pytest.fixture
def folder(tmp_path, data):
    (tmp_path / 'data').symlink_to(data)
    return tmp_path


def weights(run, iteration=4):
    path = run / f'iter_{iteration}.pth'
    return torch.load(path, map_location='cpu', weights_only=False)['state_dict']


@pytest.fixture
def known_costs(monkeypatch):
    """A step of the student alone takes 0.02 s, of 8x8 images less than of others."""
    def before_train(hook, runner):
        model = runner.model
        small = getattr(model, 'student_size', None)
        hook.cost = (0.025 if small else 0.03) if hasattr(model, 'teacher') else 0.02
        begin(hook, runner)

    begin = StepCostHook.before_train
    monkeypatch.setattr(StepCostHook, 'before_train', before_train)
    monkeypatch.setattr(
        StepCostHook, 'median',
        property(lambda hook: hook.cost if hook.seconds else None))


def test_the_whole_protocol(folder, known_costs):
    """Teacher, alone, equal time, same images, one method with two seeds each."""
    images = dict(own={}, small=dict(model=dict(student_size=[8, 8])))
    path = case.write_case(
        folder, iters=12, teacher=False, teacher_ckpt=None, images=images,
        methods=dict(kl=case.METHODS['kl']), early_stopping=dict(patience=9),
        cfg={**case.OFTEN, 'train_cfg': dict(val_interval=4)})
    bench = case.bench(path)
    outcome, said = case.go(bench)
    names = ['alone', 'kl@own', 'no_teacher@small', 'kl@small']
    assert case.Here.started == [
        'teacher, seed 0',
        *(f'{name}, seed {seed}' for seed in (0, 1) for name in names),
        'alone_equal_time, seed 0', 'alone_equal_time, seed 1']
    assert [run.name for run in outcome.done] == case.Here.started[1:]
    assert (outcome.failed, outcome.left) == ({}, [])
    assert said[0] == '[1/1] teacher, seed 0 starts'

    results = {run.name: read_json(run.folder / 'result.json') for run in outcome.done}
    runs = {run.name: run for run in [*outcome.done, bench.teacher_training()]}
    # 12 steps of 0.03 s are 18 of 0.02 s
    equal = read_json(folder / 'out/equal_time.json')
    assert equal == dict(
        method='kl@own', seconds=pytest.approx(0.36), stretch=1.5)
    for name, result in results.items():
        assert result['machine']['threads'] == result['threads'] == 1
        assert result['side_by_side'] is False
        assert result['batch_size'] == 2
        assert result['peak_bytes'] > 100 * 2**20
        assert (result['teacher'] is None) == name.startswith('alone')
        # what is tested are the best weights on the validation images
        scores = {int(k): v for k, v in result['validation'].items()}
        best = max(scores, key=scores.get)
        assert result['tested'] == f'best_mIoU_iter_{best}.pth'
        assert result['metrics']['mIoU'] == pytest.approx(scores[best], abs=0.01)
        if 'equal' in name:
            assert (result['iterations'], result['max_iters']) == (18, 18)
            assert list(scores) == [6, 12, 18]
            continue
        # the budget is the same for all; two steps follow the ten of warm-up
        assert (result['iterations'], result['max_iters']) == (12, 12)
        assert result['steps_timed'] == 2
        assert list(scores) == [4, 8, 12]
    assert len({r['teacher'] for r in results.values()}) == 2
    # every method and seed has learnt something else
    heads = {str(weights(runs[name].folder, result['iterations'])[
        ('' if 'alone' in name else 'architecture.') + 'decode_head.conv_seg.weight'])
        for name, result in results.items()}
    assert len(heads) == len(results)

    report = bench.report(bench.find_teacher())
    rows = {row.method.name: row for row in report.rows}
    assert {name: round(row.seconds, 6) for name, row in rows.items()} == {
        'teacher': 0.24, 'alone': 0.24, 'alone_equal_time': 0.36, 'kl@own': 0.36,
        'no_teacher@small': 0.3, 'kl@small': 0.3}
    assert report.title == 'small taught by big: 12 iterations of 2'
    assert [(r.method.title, r.method.images) for r in report.rows] == [
        ('teacher: big', ''), ('alone', ''), ('alone, equal time', ''), ('KL', 'own'),
        ('same images, no teacher', 'small'), ('KL', 'small')]
    for name, row in rows.items():
        if name != 'teacher':
            assert row.scores == {seed: results[f'{name}, seed {seed}']['metrics'][
                'mIoU'] for seed in (0, 1)}
    gain = rows['kl@small'].gains
    control = rows['no_teacher@small'].scores
    assert gain['same images'][0] == pytest.approx(
        rows['kl@small'].mean - (control[0] + control[1]) / 2)
    assert rows['kl@own'].gains['same images'] == rows['kl@own'].gains['alone']
    # the teacher's score and cost: its training is a run as all others
    assert rows['teacher'].scores == {
        0: runs['teacher, seed 0'].result()['metrics']['mIoU']}
    assert rows['teacher'].iterations == 12
    notes = '\n'.join(report.lines())
    assert 'Images of teacher, alone, own: 4 labelled, 16x16; 3 to test.' in notes
    assert 'small: 4 labelled, 16x16, for the student 8x8; 3 to test.' in notes
    assert 'Validation and test images are the same' in notes

    # nothing is run twice, equal time is not measured anew; another seed is added
    outcome, said = case.go(bench)
    assert case.Here.started == []
    assert said == [f'{k} of {k} runs are complete already' for k in (1, 8, 2)]
    case.go(bench, ['alone_equal_time', 'kl@own'], [0, 2])
    assert case.Here.started == ['kl@own, seed 2', 'alone_equal_time, seed 2']
    assert read_json(folder / 'out/equal_time.json') == equal


def test_same_images_without_a_teacher_learn_from_labels_alone(folder):
    """With images that are the student's own it is the student alone, to the bit."""
    path = case.write_case(
        folder, images=dict(same=dict(model=dict(student_size=None))))
    case.go(case.bench(path), ['alone', 'no_teacher@same'], [0])
    alone, control = (
        weights(folder / f'out/runs/{name}/seed-0')
        for name in ('alone', 'no_teacher@same'))
    assert {k.removeprefix('architecture.') for k in control} == set(alone)
    for key, value in alone.items():
        assert torch.equal(control[f'architecture.{key}'], value), key


def test_early_stopping(folder, monkeypatch):
    """A run stops where it would have stopped without an interruption."""
    def write(out, **early):
        path = case.write_case(
            folder, iters=20, early_stopping=early,
            cfg={**case.OFTEN, 'train_cfg': dict(val_interval=2)})
        return case.bench(path, out)

    scores = iter([50.0, 60.0, 60.05, 55.0, 70.0])
    monkeypatch.setattr(case.IoUMetric, 'compute_metrics', lambda *_: {
        'mIoU': next(scores)})
    tested = []

    def test(runner):
        tested.append(runner.model.state_dict()['decode_head.conv_seg.weight'].clone())
        return run_test(runner)

    run_test = case.Runner.test
    monkeypatch.setattr(case.Runner, 'test', test)
    # 60.05 is no better by min_delta, as is 55; the fifth score is that of the test
    straight, _ = case.go(write('out', patience=2, min_delta=0.1), ['alone'], [0])
    result = straight.done[0].result()
    assert (result['iterations'], result['max_iters']) == (8, 20)
    assert result['validation'] == {'2': 50.0, '4': 60.0, '6': 60.05, '8': 55.0}
    assert (result['tested'], result['metrics']) == (
        'best_mIoU_iter_6.pth', {'mIoU': 70.0})
    # the best weights, though training went on
    best, last = (torch.load(straight.done[0].folder / name, weights_only=False)[
        'state_dict']['decode_head.conv_seg.weight']
        for name in ('best_mIoU_iter_6.pth', 'iter_8.pth'))
    assert torch.equal(tested[0], best)
    assert not torch.equal(best, last)

    # killed between the validations; then after the last, before the test
    for iteration in (7, None):
        out = f'torn-{iteration}'
        scores = iter([50.0, 60.0, 60.05, 55.0, 70.0])
        with monkeypatch.context() as patch:
            if iteration:
                case.stop_at(patch, iteration)
            else:
                patch.setattr(case.Runner, 'test', interrupt)
            with pytest.raises(case.Interrupt):
                case.go(write(out, patience=2, min_delta=0.1), ['alone'], [0])
        again, _ = case.go(write(out, patience=2, min_delta=0.1), ['alone'], [0])
        found = again.done[0].result()
        keys = ('iterations', 'validation', 'tested', 'metrics')
        assert {k: found[k] for k in keys} == {k: result[k] for k in keys}

    # without patience it trains on
    scores = iter([50.0, 60.0, 60.05, 55.0, *[54.0] * 7])
    outcome, _ = case.go(write('whole'), ['alone'], [0])
    assert outcome.done[0].result()['iterations'] == 20


def interrupt(*_):
    raise case.Interrupt


def test_a_distillation_of_no_weight_is_the_student_alone(folder):
    """All else is equal to the bit: first weights, images, drop-out, schedule."""
    methods = {
        name: dict(
            distiller=case.logits(type='PKLLoss'), weights=dict(loss_logits=weight))
        for name, weight in (('nothing', 0.0), ('little', 0.01))}
    bench = case.bench(case.write_case(folder, methods=methods))
    names = ['alone', 'nothing', 'little']
    case.go(bench, names, [3])
    alone, nothing, little = (
        weights(folder / 'out/runs' / name / 'seed-3') for name in names)
    assert {k.removeprefix('architecture.') for k in nothing} == set(alone)
    for key, value in alone.items():
        assert torch.equal(nothing[f'architecture.{key}'], value), key
    key = 'decode_head.conv_seg.weight'
    assert not torch.equal(little[f'architecture.{key}'], alone[key])
    rows = {r.method.name: r for r in bench.report(bench.find_teacher()).rows}
    assert rows['nothing'].gains['alone'] == (0, None, 1)


def test_killed_and_gone_on_with_is_the_same(folder, monkeypatch):
    bench = case.bench(case.write_case(folder))
    straight, _ = case.go(bench, ['nfd'], [0])
    torn = case.bench(folder / 'pair.py', 'torn')
    with monkeypatch.context() as patch:
        case.stop_at(patch, 3)
        with pytest.raises(case.Interrupt):
            case.go(torn, ['nfd'], [0])
    run = folder / 'torn/runs/nfd/seed-0'
    assert (run / 'iter_2.pth').is_file()
    assert not (run / 'result.json').exists()
    with monkeypatch.context() as patch:
        trained = case.watch_iterations(patch)
        outcome, said = case.go(torn, ['nfd'], [0])
    assert said[0] == '[1/2] nfd, seed 0 goes on'
    # nothing that is in the checkpoint is trained again
    assert trained == [2, 3]
    first, second = weights(folder / 'out/runs/nfd/seed-0'), weights(run)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[k], second[k]) for k in first)
    a, b = straight.done[0].result(), outcome.done[0].result()
    assert a['metrics'] == b['metrics']
    # what was measured before the kill is known after it
    assert b['iterations'] == 4
    assert a['steps_timed'] == b['steps_timed'] == 0


class Impatient(Process):
    """Ctrl-C, as soon as a checkpoint is there."""

    last = None

    def __init__(self, run, threads):
        super().__init__(run, threads)
        Impatient.last, self.run = self, run

    def poll(self):
        code = super().poll()
        assert code is None, (self.run.folder / 'log.txt').read_text()[-2000:]
        if (self.run.folder / 'last_checkpoint').exists():
            raise KeyboardInterrupt
        return code


def test_ctrl_c_ends_the_process_and_nothing_is_lost(folder):
    # a process of its own, as the tool has it
    path = case.write_case(folder, iters=2000)
    # and with a further one that loads the images
    bench = case.bench(path, options={'train_dataloader.num_workers': 1})
    outcome, _ = case.go(bench, ['alone', 'kl'], [0], start=Impatient)
    assert outcome.interrupted
    assert [run.name for run in outcome.left] == [
        'alone, seed 0', 'kl, seed 0', 'teacher, test']
    assert Process.poll(Impatient.last) == -15
    run = outcome.left[0]
    assert run.state() == 'begun'
    assert outcome.left[1].state() == 'new'
    assert run.result() is None
    name = Path((run.folder / 'last_checkpoint').read_text()).name
    iteration = int(name.removeprefix('iter_').removesuffix('.pth'))
    assert 0 < iteration < 2000
    assert iteration % 2 == 0
    assert weights(run.folder, iteration).keys() >= {'decode_head.conv_seg.weight'}


def test_a_changed_config_is_noticed(folder):
    path = case.write_case(folder)
    bench = case.bench(path)
    case.go(bench, ['alone', 'kl'], [0])
    old = read_json(folder / 'out/runs/kl/seed-0/result.json')
    methods = {'kl': {**case.METHODS['kl'], 'weights': dict(loss_logits=0.5)}}
    changed = case.bench(case.write_case(folder, teacher=False, methods=methods))
    changes = 'model.distiller.distill_losses.loss_logits.loss_weight: 10.0 -> 0.5'
    with pytest.raises(ComparisonError, match=f'kl, seed 0: {changes}\n'):
        case.go(changed, ['alone', 'kl'], [0])
    # no result is lost, or mixed with new ones
    report = changed.report(changed.find_teacher())
    assert {r.method.name: len(r.scores) for r in report.rows} == {
        'teacher': 1, 'alone': 1, 'alone_equal_time': 0, 'kl': 0}
    assert 'Left out, as they are of another config or teacher: kl, seed 0.' in (
        report.notes)
    case.go(changed, ['alone', 'kl'], [0], rerun_changed=True)
    assert case.Here.started == ['kl, seed 0']
    assert read_json(folder / 'out/replaced/kl/seed-0.1/result.json') == old
    new = read_json(folder / 'out/runs/kl/seed-0/result.json')
    assert new['metrics'] != old['metrics']
    case.go(bench, ['kl'], [0], rerun_changed=True)
    assert read_json(folder / 'out/replaced/kl/seed-0.2/result.json') == new
    again = read_json(folder / 'out/runs/kl/seed-0/result.json')
    assert again['metrics'] == old['metrics']


def test_another_teacher_is_noticed(folder):
    path = case.write_case(folder)
    case.go(case.bench(path), ['alone', 'kl'], [0])
    shutil.copy(folder / 'teacher.pth', folder / 'copy.pth')
    # the same weights elsewhere are the same teacher
    copied = case.bench(path, teacher_ckpt=str(folder / 'copy.pth'))
    case.go(copied, ['alone', 'kl'], [0])
    assert case.Here.started == []
    case.save_teacher(folder / 'teacher.pth', seed=1)
    with pytest.raises(ComparisonError, match="kl, seed 0: the teacher's weights\n"):
        case.go(case.bench(path), ['alone', 'kl'], [0])
    # those without a teacher stay
    bench = case.bench(path)
    case.go(bench, ['alone', 'kl'], [0], rerun_changed=True)
    assert case.Here.started == ['kl, seed 0', 'teacher, test']
    # two teachers in one folder, and none to tell which is meant
    case.go(copied, ['kl'], [1], rerun_changed=True)
    (folder / 'teacher.pth').unlink()
    with pytest.raises(ComparisonError, match='taught by different teachers'):
        bench.report(bench.find_teacher())
    rows = {r.method.name: r for r in copied.report(copied.find_teacher()).rows}
    assert list(rows['kl'].scores) == [1]


def test_begun_with_another_config_is_no_beginning(folder, monkeypatch):
    path = case.write_case(folder)
    with monkeypatch.context() as patch:
        case.stop_at(patch, 3)
        with pytest.raises(case.Interrupt):
            case.go(case.bench(path), ['alone'], [0])
    options = {'optim_wrapper.optimizer.lr': 0.5}
    changed = case.bench(path, options=options)
    with pytest.raises(ComparisonError, match=r'optimizer\.lr: 0\.01 -> 0\.5'):
        case.go(changed, ['alone'], [0])
    assert case.bench(path).runs(['alone'], [0], None)[0].state() == 'begun'


def test_what_fails_does_not_stop_the_others(folder):
    broken = case.logits(type='PKLLoss')
    broken['loss_forward_mappings']['loss_logits']['preds_S']['record_idx'] = 5
    methods = dict(
        broken=dict(distiller=broken, weights=dict(loss_logits=1.0)),
        kl=case.METHODS['kl'])
    path = case.write_case(folder, methods=methods)
    bench = case.bench(path)
    outcome, said = case.go(bench, seeds=[0])
    assert [run.name for run in outcome.done] == [
        'alone, seed 0', 'kl, seed 0', 'teacher, test']
    assert list(outcome.failed) == ['broken, seed 0']
    reason = outcome.failed['broken, seed 0']
    assert 'record_idx=5' in reason
    assert reason.endswith(str(folder / 'out/runs/broken/seed-0/log.txt'))
    assert f'broken, seed 0 FAILED: {reason}' in said
    # and is tried again by the next call
    case.go(bench, seeds=[0])
    assert case.Here.started == ['broken, seed 0']


def test_no_run_is_started_when_the_time_is_up(folder):
    bench = case.bench(case.write_case(folder))
    outcome, said = case.go(bench, ['alone', 'kl'], [0], minutes=0)
    assert case.Here.started == []
    assert said == ['the time is up: 3 runs are not started']
    assert [run.name for run in outcome.left] == [
        'alone, seed 0', 'kl, seed 0', 'teacher, test']
    case.go(bench, ['alone'], [0], minutes=60)
    assert case.Here.started == ['alone, seed 0']


def test_a_teacher_without_a_checkpoint(folder):
    path = case.write_case(folder, teacher=False)
    bench = case.bench(path)
    with pytest.raises(ComparisonError) as error:
        case.go(bench, ['alone', 'kl'], [0])
    assert f'mim train mmseg {folder / "big.py"}\n' in str(error.value)
    assert '--train-teacher' in str(error.value)
    assert repr(str(folder / 'teacher.pth')) in str(error.value)
    # the student alone needs none
    case.go(bench, ['alone'], [0])
    assert case.Here.started == ['alone, seed 0']

    case.go(bench, ['alone', 'kl'], [0], train_teacher=True)
    assert case.Here.started == ['teacher, seed 0', 'kl, seed 0']
    made = folder / 'out/runs/teacher/seed-0'
    assert bench.find_teacher() == str(made / 'best_mIoU_iter_4.pth')
    # it is there now, whether asked for or not
    case.go(bench, ['alone', 'kl'], [0])
    assert case.Here.started == []


def test_a_teacher_that_fails_teaches_nobody(folder):
    path = case.write_case(folder, teacher=False)
    bench = case.bench(path, teacher_options={'model.decode_head.in_channels': 5})
    outcome, said = case.go(bench, ['alone', 'kl'], [0], train_teacher=True)
    assert case.Here.started == ['teacher, seed 0']
    assert list(outcome.failed) == ['teacher, seed 0']
    assert said[-1] == 'no student is taught before the teacher is complete'


def test_a_checkpoint_pattern_of_no_or_several_files(folder):
    path = case.write_case(folder, teacher_ckpt=str(folder / 'teach*.pth'))
    bench = case.bench(path)
    assert bench.find_teacher() == str(folder / 'teacher.pth')
    shutil.copy(folder / 'teacher.pth', folder / 'teacher2.pth')
    with pytest.raises(ValueError, match='2 files'):
        bench.find_teacher()
    for file in folder.glob('teacher*.pth'):
        file.unlink()
    assert bench.find_teacher() is None


def test_one_comparison_in_a_folder(tmp_path):
    with locked(tmp_path / 'out'):
        second = locked(tmp_path / 'out')
        with pytest.raises(ComparisonError, match='another comparison runs in'):
            second.__enter__()
        with locked(tmp_path / 'other'):
            pass
    with locked(tmp_path / 'out'):
        pass


def test_a_killed_comparison_leaves_no_lock(tmp_path):
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        with locked(tmp_path):
            os.write(theirs, b'.')
            time.sleep(600)
            os._exit(0)
    assert os.read(ours, 1) == b'.'
    with pytest.raises(ComparisonError, match='another comparison runs in'):
        locked(tmp_path).__enter__()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with locked(tmp_path):
        pass


def test_a_damaged_result_is_named(folder):
    bench = case.bench(case.write_case(folder))
    case.go(bench, ['alone'], [0])
    path = folder / 'out/runs/alone/seed-0/result.json'
    write_json(path, {**read_json(path), 'digest': 'other'})
    path.write_text(path.read_text()[:50])
    with pytest.raises(ComparisonError, match=r'result\.json is damaged'):
        case.go(bench, ['alone'], [0])
