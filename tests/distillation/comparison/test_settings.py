"""What a comparison's config may have."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from fastsegformer_mm.distillation.comparison import ComparisonError, read_comparison

case = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / 'case.py')))
KL = case.METHODS['kl']


@pytest.fixture
def read(tmp_path):
    """Write a comparison with these changes, without what is None, and read it."""
    for name in ('student', 'teacher'):
        (tmp_path / f'{name}.py').write_text('model = dict()\n')

    def read(**changes):
        content = dict(
            student=str(tmp_path / 'student.py'), teacher=str(tmp_path / 'teacher.py'),
            methods=dict(kl=KL))
        content = {k: v for k, v in {**content, **changes}.items() if v is not None}
        return read_comparison(case.write(tmp_path / 'pair.py', **content))

    return read


def test_defaults(read, tmp_path):
    found = read(a_helper=[1])
    assert found.path == tmp_path / 'pair.py'
    assert found.student == tmp_path / 'student.py'
    assert found.teacher == tmp_path / 'teacher.py'
    assert found.teacher_ckpt is None
    assert found.seeds == [0, 1, 2]
    assert found.checkpoint_interval is None
    alone, kl = found.methods.values()
    assert (alone.name, alone.title, alone.distiller) == ('alone', 'alone', None)
    assert (kl.name, kl.title, kl.reference) == ('kl', 'KL', 'https://example.org/kl')
    assert (kl.note, kl.imports, kl.custom_hooks) == ('ten times its weight', [], [])
    loss = kl.distiller['distill_losses']['loss_logits']
    assert loss == dict(type='PKLLoss', k1=1.0, loss_weight=10.0)
    # the losses that are in the file have no weight of their own
    assert 'loss_weight' not in KL['distiller']['distill_losses']['loss_logits']


def test_all_that_may_be_said(read):
    hook = dict(type='mmrazor.DistillScheduleHook', warmup=2, by_epoch=False)
    found = read(
        teacher_ckpt='t.pth', seeds=[5], checkpoint_interval=7,
        methods=dict(
            plain={k: v for k, v in KL.items() if k in ('distiller', 'weights')},
            alone=dict(title='none', note='no teacher'),
            warm={**KL, 'custom_hooks': [hook], 'imports': ['sekd']}))
    assert (found.teacher_ckpt, found.seeds, found.checkpoint_interval) == (
        't.pth', [5], 7)
    assert list(found.methods) == ['alone', 'plain', 'warm']
    assert found.methods['alone'].title == 'none'
    assert found.methods['plain'].title == 'plain'
    assert found.methods['warm'].custom_hooks == [hook]
    assert found.methods['warm'].imports == ['sekd']


def test_distiller_of_another_file(read, tmp_path):
    path = case.write(tmp_path / 'own.py', distiller=KL['distiller'])
    found = read(methods=dict(
        kl=dict(distiller=str(path), weights=dict(loss_logits=3.0))))
    losses = found.methods['kl'].distiller['distill_losses']
    assert losses == dict(loss_logits=dict(type='PKLLoss', k1=1.0, loss_weight=3.0))
    case.write(path, model=dict())
    with pytest.raises(ComparisonError, match=r'own\.py. has no distiller'):
        read(methods=dict(kl=dict(distiller=str(path))))
    path.unlink()
    with pytest.raises(ComparisonError, match=r'methods\.kl\.distiller=.*own\.py'):
        read(methods=dict(kl=dict(distiller=str(path))))


@pytest.mark.parametrize(('changes', 'message'), [
    (dict(student=None, methods=None), 'no student, methods; a comparison has'),
    (dict(teacher='absent.py'), r"teacher='absent\.py' is no file"),
    (dict(seeds=[]), r'seeds=\[\]; expected different numbers'),
    (dict(seeds=[1, 1]), r'seeds=\[1, 1\]'),
    (dict(seeds=[-1]), r'seeds=\[-1\]'),
    (dict(seeds=[0.5]), r'seeds=\[0\.5\]'),
    (dict(checkpoint_interval=0), 'checkpoint_interval=0; expected a number above'),
    (dict(methods=dict(teacher=KL)), "cannot be called 'teacher'"),
    (dict(methods={'a/b': KL}), "cannot be called 'a/b'"),
    (dict(methods=dict(kl={**KL, 'weight': 1})),
     r'methods\.kl has weight; expected some of title, reference, note, distiller'),
    (dict(methods=dict(kl=dict(title='KL'))), r'methods\.kl has no distiller'),
    (dict(methods=dict(alone=KL)), r'methods\.alone has a distiller'),
    (dict(methods=dict(kl={**KL, 'weights': {}})),
     r'methods\.kl\.weights has nothing; expected .* every loss: loss_logits'),
    (dict(methods=dict(kl={**KL, 'weights': dict(loss_logits=1.0, loss_b=2.0)})),
     r'methods\.kl\.weights has loss_logits, loss_b'),
])
def test_refused(read, changes, message):
    with pytest.raises(ComparisonError, match=message):
        read(**changes)


def test_no_such_file(tmp_path):
    with pytest.raises(ComparisonError, match=r'absent\.py.* is no config file'):
        read_comparison(tmp_path / 'absent.py')
