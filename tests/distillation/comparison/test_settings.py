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
    assert (found.teacher_ckpt, found.equal_time) == (None, None)
    assert (found.seeds, found.early_stopping, found.cfg) == ([0, 1, 2], {}, {})
    assert list(found.methods) == ['alone', 'alone_equal_time', 'kl']
    kl = found.methods['kl']
    assert (kl.title, kl.reference, kl.note, kl.images, kl.control) == (
        'KL', 'https://example.org/kl', 'ten times its weight', '', 'alone')
    loss = kl.distiller['distill_losses']['loss_logits']
    assert loss == dict(type='PKLLoss', k1=1.0, loss_weight=10.0)
    # the losses that are in the file have no weight of their own
    assert 'loss_weight' not in KL['distiller']['distill_losses']['loss_logits']


def test_every_method_on_every_set_of_images(read):
    own = dict(custom_hooks=[dict(type='NoOpHook')])
    half, mixed = dict(model=dict(student_size=16)), dict(train_dataloader={})
    found = read(
        images=dict(plain={}, half=half, mixed=mixed), equal_time='kl@half',
        early_stopping=dict(patience=3), cfg=dict(log_level='ERROR'), methods=dict(
            kl=KL,
            warm=dict(distiller=KL['distiller'], cfg=own, images=['mixed', 'plain'])))
    assert (found.equal_time, found.early_stopping) == ('kl@half', dict(patience=3))
    assert found.cfg == dict(log_level='ERROR')
    assert {name: (m.title, m.images, m.fragments, m.control)
            for name, m in found.methods.items()} == {
        'alone': ('alone', '', [], 'alone'),
        'alone_equal_time': ('alone, equal time', '', [], 'alone'),
        'kl@plain': ('KL', 'plain', [{}, {}], 'alone'),
        'warm@plain': ('warm', 'plain', [{}, own], 'alone'),
        'no_teacher@half': ('same images, no teacher', 'half', [half], 'alone'),
        'kl@half': ('KL', 'half', [half, {}], 'no_teacher@half'),
        'no_teacher@mixed': ('same images, no teacher', 'mixed', [mixed], 'alone'),
        'kl@mixed': ('KL', 'mixed', [mixed, {}], 'no_teacher@mixed'),
        'warm@mixed': ('warm', 'mixed', [mixed, own], 'no_teacher@mixed')}
    assert [name for name, m in found.methods.items() if not m.distiller] == [
        'alone', 'alone_equal_time', 'no_teacher@half', 'no_teacher@mixed']


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
    (dict(methods=dict(teacher=KL)), "cannot be called 'teacher'"),
    (dict(methods=dict(alone=KL)), "cannot be called 'alone'"),
    (dict(methods={'a/b': KL}), "cannot be called 'a/b'"),
    (dict(images={'a@b': {}}), "cannot be called 'a@b'"),
    (dict(equal_time='alone'), r"equal_time='alone'; expected one of kl"),
    (dict(methods=dict(kl={**KL, 'images': ['a', 'b']}), images=dict(a={})),
     "no images b; there are 'a'"),
    (dict(methods=dict(kl={**KL, 'cfg': dict(model=dict(student_size=8))})),
     r'methods\.kl\.cfg changes the images \(student_size\)'),
    (dict(methods=dict(kl={**KL, 'cfg': dict(train_dataloader={})})),
     r'methods\.kl\.cfg changes the images \(train_dataloader\)'),
    (dict(methods=dict(kl={**KL, 'weight': 1})),
     r'methods\.kl has weight; expected some of distiller, weights, title'),
    (dict(methods=dict(kl=dict(title='KL'))), r'methods\.kl has no distiller'),
    (dict(methods=dict(kl={**KL, 'weights': dict(loss_b=2.0)})),
     r'methods\.kl\.weights has loss_b; its losses are loss_logits'),
])
def test_refused(read, changes, message):
    with pytest.raises(ComparisonError, match=message):
        read(**changes)


def test_no_such_file(tmp_path):
    with pytest.raises(ComparisonError, match=r'absent\.py.* is no config file'):
        read_comparison(tmp_path / 'absent.py')
