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
    chosen_on_test,
    differences,
    digest,
    run_config,
    stretch_schedule,
    write_config,
)

case = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / 'case.py')))
set_up = case.set_up
OURS = [dict(type='SameStartHook'), dict(type='StepCostHook'),
        dict(type='ValidationHook')]
CHECK = dict(type='mmrazor.CheckTeacherHook')
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
        type='SafeCheckpointHook', by_epoch=False, save_best='mIoU', interval=2,
        max_keep_ckpts=1)
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
    assert cfg.pop('custom_hooks') == [*OURS, CHECK]
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
    added = dict(
        custom_hooks=[hook], custom_imports=dict(imports=['sekd', PARTS]),
        model=dict(teacher_channels_last=True))
    case.write(path, **{
        **Config.fromfile(path).to_dict(), 'early_stopping': dict(patience=3),
        'methods': dict(kl={**case.METHODS['kl'], 'cfg': added})})
    comparison = read_comparison(path)
    cfg = run_config(comparison, 'kl', 1)
    stop = dict(type='ValidationHook', patience=3)
    assert cfg['custom_hooks'] == [own, *OURS[:2], stop, CHECK, hook]
    assert cfg['custom_imports']['imports'] == [
        'mmseg', PARTS, 'robust_training', 'sekd']
    assert cfg['randomness'] == dict(seed=1, deterministic=True)
    assert cfg['model']['teacher_channels_last'] is True
    # the student's own preprocessor is in its network
    preprocessor = cfg['model']['architecture']['data_preprocessor']
    assert preprocessor == case.network(4)['data_preprocessor']
    # the teacher is trained by the same protocol
    assert run_config(comparison, 'teacher', 1)['custom_hooks'] == [*OURS[:2], stop]


def test_images_and_their_control(path):
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
    images = dict(
        model=dict(student_size=(8, 16)), train_dataloader=dict(
            batch_size=3, dataset=dict(pipeline=pipeline, data_prefix=dict(
                _delete_=True, img_path='others'))))
    case.write(path, **{**Config.fromfile(path).to_dict(), 'images': dict(more=images)})
    comparison = read_comparison(path)
    alone = run_config(comparison, 'alone', 5)
    kl = run_config(comparison, 'kl@more', 5, 'best.pth')
    loader = kl['train_dataloader']
    assert (loader['batch_size'], loader['num_workers']) == (3, 0)
    assert loader['dataset']['pipeline'] == pipeline
    assert loader['dataset']['data_prefix'] == dict(img_path='others')
    assert loader['dataset']['data_root'] == str(path.parent / 'data')
    assert kl['model']['student_size'] == (8, 16)
    # what is read is not changed by what is merged
    assert run_config(comparison, 'kl@more', 5, 'best.pth') == kl
    assert run_config(comparison, 'alone', 5) == alone
    control = run_config(comparison, 'no_teacher@more', 5, 'best.pth')
    assert control['custom_hooks'] == [*OURS, dict(
        type='mmrazor.DistillScheduleHook', stop=0, by_epoch=False)]
    for key in ('distiller', 'custom_hooks'):
        for cfg in (kl, control):
            (cfg if key in cfg else cfg['model']).pop(key)
    assert control == kl


def test_stretched_schedule(path):
    """By hand: 7.5 steps are 8; all counts are 8 / 5 of what they were."""
    schedulers = [
        dict(type='LinearLR', start_factor=0.1, begin=0, end=2, by_epoch=False),
        dict(type='CosineAnnealingLR', begin=2, end=5, T_max=3, by_epoch=False),
        dict(type='MultiStepLR', milestones=[1, 4], gamma=0.5, by_epoch=False)]
    edit(path, 'small', param_scheduler=schedulers, train_cfg=dict(
        type='IterBasedTrainLoop', max_iters=5, val_interval=2))
    comparison = read_comparison(path)
    cfg = run_config(comparison, 'alone_equal_time', 0, stretch=1.5)
    assert cfg['train_cfg'] == dict(
        type='IterBasedTrainLoop', max_iters=8, val_interval=3)
    linear, cosine, steps = cfg['param_scheduler']
    assert (linear['begin'], linear['end'], linear['start_factor']) == (0, 3, 0.1)
    assert (cosine['begin'], cosine['end'], cosine['T_max']) == (3, 8, 5)
    assert (steps['milestones'], steps['gamma']) == ([2, 6], 0.5)
    # the same length is the same schedule, and so is that of all others
    same = run_config(comparison, 'alone_equal_time', 0)
    assert same == run_config(comparison, 'alone', 0, stretch=1.5)
    by_epoch = dict(train_cfg=dict(by_epoch=True, max_epochs=10, val_interval=1),
                    param_scheduler=dict(type='PolyLR', power=0.9, begin=0, end=10))
    stretch_schedule(by_epoch, 1.21)
    assert by_epoch == dict(
        train_cfg=dict(by_epoch=True, max_epochs=13, val_interval=1),
        param_scheduler=dict(type='PolyLR', power=0.9, begin=0, end=13))


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


def test_refused(path):
    edit(path, 'small', load_from='weights.pth')
    with pytest.raises(ComparisonError, match=r"small\.py has load_from='weights"):
        run_config(read_comparison(path), 'alone', 0)
    edit(path, 'small', load_from=None, val_dataloader=None)
    with pytest.raises(ComparisonError, match=r'small\.py has no val_dataloader'):
        run_config(read_comparison(path), 'alone', 0)


def test_chosen_on_test(path):
    cfg = run_config(read_comparison(path), 'alone', 0)
    assert chosen_on_test(cfg)
    cfg['test_dataloader']['dataset']['data_prefix']['img_path'] = 'images/test'
    assert not chosen_on_test(cfg)


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
