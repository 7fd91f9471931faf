"""Where the teacher's weights come from, and what is refused."""

import os
import pathlib
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from fastsegformer_mm.distillation import DistillationError
from fastsegformer_mm.distillation.algorithms import frozen_teacher

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / 'tiny.py')))
set_up = tiny.set_up


@pytest.fixture
def file(tmp_path):
    return tmp_path / 'best_mIoU_iter_9.pth'


def refused(path, **kwargs):
    """The message for a checkpoint; nothing may have changed by it."""
    model = tiny.build(
        teacher_ckpt=str(path), allow_random_teacher=False, **kwargs)
    before = tiny.weights(model), tiny.weights(model.teacher.network)
    for start in (model.init_weights, lambda: tiny.losses(model)):
        with pytest.raises(DistillationError) as error:
            start()
    assert tiny.same(before[0], tiny.weights(model))
    assert tiny.same(before[1], tiny.weights(model.teacher.network))
    assert model.teacher.loaded_from is None
    return str(error.value)


def test_every_weight_is_loaded(file, monkeypatch):
    saved = tiny.save_teacher(file)
    reads = []
    read = frozen_teacher.read_checkpoint
    monkeypatch.setattr(
        frozen_teacher, 'read_checkpoint',
        lambda path: reads.append(path) or read(path))
    model = tiny.build(teacher_ckpt=str(file), allow_random_teacher=False)
    size = sum(p.numel() for p in saved.parameters())
    with tiny.messages() as said:
        model.init_weights()
    line, = [m for m in said if m.startswith('Teacher: ')]
    assert re.fullmatch(
        rf'Teacher: {size:,} parameters loaded from {file} in \d+\.\d s', line)
    assert tiny.same(saved.state_dict(), model.teacher.network.state_dict())
    assert model.teacher.loaded_from == str(file)
    assert model.teacher.classes == tiny.CLASSES
    images = tiny.prepared(model)['inputs']
    with torch.no_grad():
        assert torch.equal(model.teacher(images), saved(images))
    tiny.losses(model)
    model.init_weights()
    assert reads == [str(file)]


def test_without_init_weights_it_is_loaded_at_the_first_loss(file):
    saved = tiny.save_teacher(file)
    model = tiny.build(teacher_ckpt=str(file), allow_random_teacher=False)
    tiny.losses(model)
    assert tiny.same(saved.state_dict(), model.teacher.network.state_dict())


def test_no_checkpoint():
    model = tiny.build(allow_random_teacher=False)
    before = tiny.weights(model)
    for start in (model.init_weights, lambda: tiny.losses(model)):
        with pytest.raises(DistillationError, match=(
                r'the teacher has no weights: set model.teacher_ckpt .*'
                r'--cfg-options model.teacher_ckpt=FILE.*'
                r'model.allow_random_teacher=True')):
            start()
    assert tiny.same(before, tiny.weights(model))


def test_random_teacher_by_name_only():
    model = tiny.build(allow_random_teacher=True)
    with tiny.messages() as said:
        model.init_weights()
        tiny.losses(model)
    assert [m for m in said if m.startswith('Teacher: ')] == [
        'Teacher: random weights, as allow_random_teacher']
    assert model.teacher.classes is None


def test_incomplete_checkpoint(file):
    tiny.save_teacher(file)
    content = torch.load(file)
    for key in ('backbone.project.bias', 'decode_head.conv_seg.weight'):
        del content['state_dict'][key]
    torch.save(content, file)
    assert refused(file).startswith(
        f"the teacher was not loaded: checkpoint '{file}' does not fit "
        'EncoderDecoder: 2 missing: backbone.project.bias, '
        'decode_head.conv_seg.weight. Nothing was loaded')


def test_checkpoint_of_another_network(file):
    tiny.save_teacher(file, norm='GN', classes=())
    told = refused(file)
    assert 'missing: backbone.stem.bn.weight' in told
    assert 'unexpected: backbone.stem.gn.weight' in told


def test_wrong_shapes(file):
    tiny.save_teacher(file)
    content = torch.load(file)
    content['state_dict']['backbone.project.bias'] = torch.ones(3)
    torch.save(content, file)
    assert 'backbone.project.bias (3,) instead of (12,)' in refused(file)


@pytest.mark.parametrize(('content', 'what'), [
    (b'<!DOCTYPE html><html><body>Sign in</body></html>', 'an HTML page'),
    (b'\x00\x01' * 50, 'of no known kind'), (b'', 'empty')])
def test_no_checkpoint_at_all(file, content, what):
    file.write_bytes(content)
    assert refused(file).startswith(
        f'the teacher was not loaded: checkpoint {str(file)!r} is {what}')


@pytest.mark.parametrize(
    'content', [[torch.ones(2)], {1: torch.ones(2)}, torch.ones(2)])
def test_tensors_that_are_no_state_dict(file, content):
    torch.save(content, file)
    assert refused(file).startswith(
        f'the teacher was not loaded: checkpoint {str(file)!r} holds a')


def test_absent_file(file):
    assert f'checkpoint {str(file)!r} does not exist' in refused(file)


def test_pattern(tmp_path):
    pattern = tmp_path / 'best_mIoU_*.pth'
    told = refused(pattern)
    assert told.startswith(f'teacher_ckpt={str(pattern)!r} matches no file')
    assert '--cfg-options model.teacher_ckpt=FILE' in told
    tiny.save_teacher(tmp_path / 'best_mIoU_iter_1.pth')
    model = tiny.build(teacher_ckpt=str(pattern))
    model.init_weights()
    assert model.teacher.loaded_from == str(tmp_path / 'best_mIoU_iter_1.pth')
    tiny.save_teacher(tmp_path / 'best_mIoU_iter_2.pth')
    told = refused(pattern)
    assert 'matches 2 files (' in told
    assert 'best_mIoU_iter_1.pth, ' in told
    assert 'best_mIoU_iter_2.pth); expected one' in told


def test_file_whose_name_looks_like_a_pattern(tmp_path):
    file = tmp_path / 'lr[0.1]' / 'teacher.pth'
    file.parent.mkdir()
    saved = tiny.save_teacher(file)
    model = tiny.build(teacher_ckpt=str(file))
    model.init_weights()
    assert tiny.same(saved.state_dict(), model.teacher.network.state_dict())


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_pickle_does_not_run(file, tmp_path):
    torch.save(dict(state_dict={}, meta=Malicious(tmp_path / 'ran')), file)
    assert 'could run code from it' in refused(file)
    assert not pathlib.Path(tmp_path, 'ran').exists()


@pytest.mark.parametrize(('in_file', 'in_network'), [(True, False), (False, True)])
def test_auxiliary_heads_do_not_matter(file, in_file, in_network):
    """Only the loss uses them, and no teacher computes one."""
    def with_aux(cfg, wanted):
        if wanted:
            head = dict(cfg['decode_head'], in_channels=6, in_index=0)
            cfg['auxiliary_head'] = head
        return cfg

    cfg = with_aux(tiny.teacher(), in_file)
    saved = tiny.MODELS.build(cfg)
    torch.save(dict(state_dict=saved.state_dict()), file)
    model = tiny.build(
        teacher=with_aux(tiny.teacher(), in_network), teacher_ckpt=str(file))
    model.init_weights()
    own = model.teacher.network.state_dict()
    common = saved.state_dict().keys() & own.keys()
    assert len(common) == 16
    for key in common:
        assert torch.equal(own[key], saved.state_dict()[key])


def test_teacher_that_was_itself_distilled(file):
    """A chain: the student of one distillation teaches the next."""
    first = tiny.build(
        architecture=tiny.teacher(),
        distiller=tiny.one_pair('backbone.stem', 'backbone.stem'))
    torch.save(dict(meta={}, state_dict=first.state_dict()), file)
    second = tiny.build(teacher_ckpt=str(file))
    second.init_weights()
    assert tiny.same(
        second.teacher.network.state_dict(), first.student.state_dict())


@pytest.mark.parametrize(('student', 'teacher'), [(4, 3), (2, 4)])
def test_other_number_of_classes(student, teacher):
    with pytest.raises(DistillationError, match=(
            f'the teacher has {teacher} classes and the student {student}')):
        tiny.build(architecture=tiny.student(classes=student),
                   teacher=tiny.teacher(classes=teacher))


def test_networks_by_their_config_files(tmp_path):
    for name, model in (('student', tiny.student()), ('teacher', tiny.teacher())):
        (tmp_path / f'{name}.py').write_text(f'model = {model!r}')
    torch.manual_seed(3)
    model = tiny.build(
        architecture=str(tmp_path / 'student.py'),
        teacher=str(tmp_path / 'teacher.py'))
    torch.manual_seed(3)
    same = tiny.build()
    assert tiny.same(model.state_dict(), same.state_dict())
    assert tiny.same(
        model.teacher.network.state_dict(), same.teacher.network.state_dict())


@pytest.mark.parametrize('name', ['architecture', 'teacher'])
def test_config_file_that_does_not_exist(name, tmp_path):
    path = str(tmp_path / 'none.py')
    with pytest.raises(DistillationError, match=(
            rf"'{path}' is no config file .*: give the path of one, from the folder "
            'where training is started')):
        tiny.build(**{name: path})
