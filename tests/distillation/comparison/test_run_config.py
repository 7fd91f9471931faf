"""The whole config of a run: one budget for all, and what is added to it."""

import copy
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.config import Config

from fastsegformer_mm.distillation.comparison import ComparisonError, read_comparison
from fastsegformer_mm.distillation.comparison.results import Run, write_json
from fastsegformer_mm.distillation.comparison.run_config import (
    differences,
    digest,
    run_config,
    write_config,
)

case = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / 'case.py')))
set_up = case.set_up
OURS = [dict(type='SameStartHook'), dict(type='StepCostHook')]
PARTS = 'fastsegformer_mm.distillation.comparison'


@pytest.fixture
def path(tmp_path):
    (tmp_path / 'data').mkdir()
    return case.write_case(tmp_path, teacher=False)


def edit(path, name, **changes):
    """Change the student's or the teacher's own config."""
    own = path.parent / f'{name}.py'
    case.write(own, **{**Config.fromfile(own).to_dict(), **changes})


def test_student_alone(path):
    own = Config.fromfile(path.parent / 'small.py').to_dict()
    cfg = run_config(read_comparison(path), 'alone', 5)
    assert cfg.pop('randomness') == dict(seed=5)
    assert cfg.pop('custom_hooks') == OURS
    assert cfg.pop('custom_imports')['imports'] == [
        'fastsegformer_mm', PARTS, 'robust_training']
    checkpoint = dict(
        type='SafeCheckpointHook', by_epoch=False, interval=2, max_keep_ckpts=1)
    assert cfg['default_hooks'].pop('checkpoint') == checkpoint
    for key in ('custom_imports',):
        own.pop(key)
    own['default_hooks'].pop('checkpoint')
    # all else is the student's own: data, schedule, network, evaluation
    assert cfg == own


def test_distilled(path):
    comparison = read_comparison(path)
    alone = run_config(comparison, 'alone', 5)
    cfg = run_config(comparison, 'kl', 5, 'best.pth')
    model = cfg.pop('model')
    assert cfg.pop('custom_hooks') == [*OURS, dict(type='mmrazor.CheckTeacherHook')]
    alone.pop('custom_hooks')
    assert model == dict(
        _scope_='mmrazor', type='MultiResolutionDistill',
        architecture=dict(_scope_='mmseg', **alone.pop('model')),
        teacher=dict(_scope_='mmseg', **case.network(6)), teacher_ckpt='best.pth',
        distiller=comparison.methods['kl'].distiller)
    assert cfg == alone


def test_what_a_method_and_the_student_add(path):
    hook, own = dict(type='NoOpHook'), dict(type='IterTimerHook')
    edit(path, 'small', custom_hooks=[own], custom_imports=dict(imports='mmseg'),
         randomness=dict(seed=9, deterministic=True), default_hooks={},
         data_preprocessor=dict(type='SegDataPreProcessor', mean=[7.0]))
    method = {**case.METHODS['kl'], 'custom_hooks': [hook], 'imports': ['sekd', PARTS]}
    case.write(path, **{
        **Config.fromfile(path).to_dict(), 'methods': dict(kl=method)})
    comparison = read_comparison(path)
    cfg = run_config(comparison, 'kl', 1)
    assert cfg['custom_hooks'] == [
        own, *OURS, dict(type='mmrazor.CheckTeacherHook'), hook]
    assert cfg['custom_imports']['imports'] == [
        'mmseg', PARTS, 'robust_training', 'sekd']
    assert cfg['randomness'] == dict(seed=1, deterministic=True)
    assert cfg['default_hooks']['checkpoint'] == dict(
        type='SafeCheckpointHook', by_epoch=False, interval=2, max_keep_ckpts=1)
    # the student's own preprocessor is in its network
    preprocessor = cfg['model']['architecture']['data_preprocessor']
    assert preprocessor == case.network(4)['data_preprocessor']


def test_preprocessor_beside_the_network(path):
    outside = dict(type='SegDataPreProcessor', mean=[7.0])
    for name, width in (('small', 4), ('big', 6)):
        model = case.network(width)
        model.pop('data_preprocessor')
        edit(path, name, model=model, data_preprocessor=outside)
    model = run_config(read_comparison(path), 'kl', 1)['model']
    assert model['architecture']['data_preprocessor'] == outside
    assert model['teacher']['data_preprocessor'] == outside


def test_teacher(path):
    comparison = read_comparison(path)
    options = {'train_cfg.max_iters': 9}
    cfg = run_config(comparison, 'teacher', 2, None, {}, options)
    assert cfg['model'] == case.network(6)
    assert cfg['train_cfg']['max_iters'] == 9
    assert cfg['custom_hooks'] == OURS
    assert cfg['randomness'] == dict(seed=2)
    # only tested
    cfg = run_config(comparison, 'teacher', 2, 'best.pth', {}, options)
    assert cfg['load_from'] == 'best.pth'
    assert cfg['model'] == case.network(6)
    assert not {k for k in cfg if k.startswith(('train_', 'val_', 'optim'))}
    assert cfg['test_dataloader']['batch_size'] == 1
    assert cfg['custom_imports']['imports'][-2:] == [PARTS, 'robust_training']


def test_options(path):
    comparison = read_comparison(path)
    options = {'optim_wrapper.optimizer.lr': 0.5, 'model.decode_head.channels': 6}
    teacher_options = {'model.decode_head.channels': 10}
    for name in ('alone', 'kl'):
        cfg = run_config(comparison, name, 0, None, options, teacher_options)
        assert cfg['optim_wrapper']['optimizer']['lr'] == 0.5
        model = cfg['model']
        student = model.get('architecture', model)
        assert student['decode_head']['channels'] == 6
    assert model['teacher']['decode_head']['channels'] == 10


def test_own_interval_of_checkpoints(path):
    content = Config.fromfile(path).to_dict()
    del content['checkpoint_interval']
    case.write(path, **content)
    cfg = run_config(read_comparison(path), 'alone', 0)
    assert cfg['default_hooks']['checkpoint'] == dict(
        type='SafeCheckpointHook', by_epoch=False, interval=100)


def test_load_from_leaves_no_way_to_resume(path):
    edit(path, 'small', load_from='weights.pth')
    with pytest.raises(ComparisonError, match=r"small\.py has load_from='weights"):
        run_config(read_comparison(path), 'alone', 0)


def test_digest(path):
    comparison = read_comparison(path)
    cfg = run_config(comparison, 'kl', 0, 'a.pth')
    same = digest(cfg)
    assert len(same) == 64
    # not where the teacher lies, but all else
    assert digest(run_config(comparison, 'kl', 0, 'b.pth')) == same
    assert digest(dict(reversed(cfg.items()))) == same
    others = [digest(run_config(comparison, 'kl', 1, 'a.pth')),
              digest(run_config(comparison, 'nfd', 0, 'a.pth')),
              digest(run_config(comparison, 'alone', 0))]
    for keys in (('train_cfg', 'max_iters'), ('model', 'teacher', 'backbone', 'type'),
                 ('test_dataloader', 'dataset', 'data_root')):
        changed = copy.deepcopy(cfg)
        node = changed
        for key in keys[:-1]:
            node = node[key]
        node[keys[-1]] = 'other'
        others.append(digest(changed))
    tested = run_config(comparison, 'teacher', 0, 'a.pth')
    assert digest(tested) == digest({**tested, 'load_from': 'b.pth'})
    others.append(digest(tested))
    assert len({same, *others}) == 8


def test_differences():
    old = dict(a=1, b=dict(c=[1, 2], d={}), e=[dict(f=1), dict(g=2)],
               model=dict(teacher_ckpt='x'), load_from='y')
    new = dict(b=dict(c=[1, 3], d={}), e=[dict(f=1), dict(g=(2,))], h=None,
               model=dict(teacher_ckpt='z'), load_from='w')
    assert differences(old, new) == [
        'a: 1 -> nothing', 'b.c: [1, 2] -> [1, 3]', 'e[1].g: 2 -> (2,)',
        'h: nothing -> None']
    assert differences(old, old) == []


def test_written_config_is_read_again(path, tmp_path):
    cfg = run_config(read_comparison(path), 'nfd', 0, 'a.pth')
    cfg['scale'] = (2, 3.5)
    cfg['words'] = 'it\'s "so"\n'
    write_config(cfg, tmp_path / 'config.py')
    found = Config.fromfile(tmp_path / 'config.py').to_dict()
    assert found == cfg
    assert digest(found) == digest(cfg)
    with pytest.raises(ComparisonError, match='scale=<class'):
        write_config(dict(scale=int), tmp_path / 'config.py')
    with pytest.raises(ComparisonError, match='scale=inf'):
        write_config(dict(scale=float('inf')), tmp_path / 'config.py')


def test_states_of_a_run(tmp_path):
    run = Run(tmp_path / 'seed-3', 'kl', 3, dict(a=1), teacher='t')
    assert (run.name, run.state(), run.result()) == ('kl, seed 3', 'new', None)
    run.prepare(threads=2)
    assert run.state() == 'begun'
    others = [Run(run.folder, 'kl', 3, dict(a=2), 't'),
              Run(run.folder, 'kl', 3, dict(a=1), 'u')]
    assert [other.state() for other in others] == ['changed', 'changed']
    assert others[0].changes() == ['a: 1 -> 2']
    assert others[1].changes() == ["the teacher's weights"]
    result = dict(method='kl', seed=3, digest=run.digest, teacher='t', metrics={})
    write_json(run.folder / 'result.json', result)
    assert (run.state(), run.result()) == ('complete', result)
    assert [other.state() for other in others] == ['changed', 'changed']
    assert [other.result() for other in others] == [None, None]
    # the job alone was written anew, and the result is an older one's
    others[0].prepare()
    assert others[0].state() == 'changed'
    (run.folder / 'config.py').unlink()
    assert others[0].changes() == ['its config, of which there is no copy']
    moved = run.put_aside(tmp_path / 'replaced')
    assert moved == tmp_path / 'replaced/kl/seed-3.1'
    assert run.state() == 'new'
    run.prepare()
    assert run.put_aside(tmp_path / 'replaced').name == 'seed-3.2'
