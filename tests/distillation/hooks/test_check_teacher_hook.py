"""CheckTeacherHook: the teacher's classes, and what it scores."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from fastsegformer_mm.distillation import DistillationError
from fastsegformer_mm.distillation.hooks import CheckTeacherHook

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / 'tiny.py')))
set_up = tiny.set_up
AT_64 = [
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')]


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return tiny.write_data(tmp_path_factory.mktemp('data'))


def trained(data, tmp_path, checkpoint, **hook):
    """A training with the hook, and what it said about the teacher."""
    model = tiny.model_cfg(teacher_ckpt=str(checkpoint), allow_random_teacher=False)
    runner = tiny.runner(
        data, tmp_path / 'work', iters=1, model=model,
        custom_hooks=[dict(type='mmrazor.CheckTeacherHook', **hook)])
    before = tiny.weights(runner.model)
    with tiny.messages(runner.logger) as said:
        try:
            runner.train()
        except DistillationError:
            assert runner.iter == 0
            raise
    assert not tiny.same(before, tiny.weights(runner.model))
    return [m for m in said if m.startswith(('Teacher on', 'CheckTeacherHook'))]


def test_same_classes(data, tmp_path):
    tiny.save_teacher(tmp_path / 'teacher.pth')
    assert trained(data, tmp_path, tmp_path / 'teacher.pth') == []


@pytest.mark.parametrize('classes', [
    ('background', 'ulcer', 'crack', 'scar'), ('background', 'crack', 'ulcer', 'mark'),
    ['background', 'crack', 'ulcer']])
def test_other_classes_or_another_order(data, tmp_path, classes):
    checkpoint = tmp_path / 'teacher.pth'
    tiny.save_teacher(checkpoint, classes=classes)
    with pytest.raises(DistillationError) as error:
        trained(data, tmp_path, checkpoint)
    assert str(error.value).startswith(
        f'the teacher {checkpoint} was trained for the classes '
        f'{", ".join(classes)}; the data set has background, crack, ulcer, scar. They '
        'must be the same, in one order')
    assert not list(tmp_path.rglob('iter_*.pth'))


def test_checkpoint_that_does_not_name_its_classes(data, tmp_path):
    checkpoint = tmp_path / 'teacher.pth'
    tiny.save_teacher(checkpoint, classes=())
    assert trained(data, tmp_path, checkpoint) == [
        f'CheckTeacherHook: {checkpoint} does not name its classes; they are taken to '
        'be background, crack, ulcer, scar']


@pytest.mark.parametrize('pipeline', [None, AT_64])
def test_score_is_that_of_the_teacher_alone(data, tmp_path, pipeline):
    checkpoint = tmp_path / 'teacher.pth'
    tiny.save_teacher(checkpoint)
    cfg = tiny.runner_cfg(data, tmp_path / 'alone', model=tiny.teacher())
    cfg.load_from = str(checkpoint)
    if pipeline:
        cfg.test_dataloader.dataset.pipeline = pipeline
    expected = tiny.Runner.from_cfg(cfg).test()
    assert 0 < expected['mIoU'] < 100
    said = trained(data, tmp_path, checkpoint, num_batches=-1, pipeline=pipeline)
    figures = ', '.join(f'{k} {v:.2f}' for k, v in expected.items())
    assert said == [f'Teacher on 3 validation images: {figures}']
    assert f'mIoU {expected["mIoU"]:.2f}' in figures


def test_score_of_a_few_batches(data, tmp_path):
    checkpoint = tmp_path / 'teacher.pth'
    tiny.save_teacher(checkpoint)
    line, = trained(data, tmp_path, checkpoint, num_batches=2)
    assert line.startswith('Teacher on 2 validation images: aAcc ')


def test_score_without_validation_images(data, tmp_path):
    runner = tiny.runner(
        data, tmp_path, val_dataloader=None, val_cfg=None, val_evaluator=None,
        custom_hooks=[dict(type='mmrazor.CheckTeacherHook', num_batches=-1)])
    with pytest.raises(DistillationError, match=(
            r'num_batches=-1 scores the teacher on validation images, and there is no '
            r'val_dataloader; set num_batches=0')):
        runner.train()


def test_model_without_a_teacher(data, tmp_path):
    runner = tiny.runner(
        data, tmp_path, model=tiny.student(),
        custom_hooks=[dict(type='mmrazor.CheckTeacherHook')])
    with pytest.raises(DistillationError, match=(
            'CheckTeacherHook: EncoderDecoder has no teacher')):
        runner.train()


def tried(data, tmp_path, size, distiller, **networks):
    """What a training at a size says before its first iteration."""
    cfg = tiny.runner_cfg(
        data, tmp_path / 'work', iters=1,
        model=tiny.model_cfg(distiller=distiller, **networks),
        custom_hooks=[dict(type='mmrazor.CheckTeacherHook')])
    cfg.train_dataloader.dataset.pipeline.insert(
        1, dict(type='Resize', scale=size[::-1], keep_ratio=False))
    runner = tiny.Runner.from_cfg(cfg)
    seen = []
    runner.model.data_preprocessor.register_forward_pre_hook(
        lambda *_: seen.append(1))
    with pytest.raises(DistillationError) as error:
        runner.train()
    assert seen == []  # no batch was looked at
    return str(error.value)


def test_maps_of_one_pixel_are_refused_before_the_first_step(data, tmp_path):
    """Strides 4 and below: at 4x4 pixels the second map is one pixel."""
    said = tried(data, tmp_path, (4, 4), tiny.distiller(), student_size=None)
    assert said.startswith('at 4x4 pixels loss_second (NFDLoss) cannot compare its')
    assert "the student's map has a single one: take a map of a lower stride" in said


def test_softmax_of_one_channel_is_refused_before_the_first_step(data, tmp_path):
    distiller = tiny.one_pair('decode_head.conv_seg', 'decode_head.conv_seg')
    (name,) = distiller['distill_losses']
    distiller['distill_losses'][name] = dict(
        type='ResizeTeacherLoss', loss=dict(type='KLDivergence'))
    networks = dict(architecture=tiny.student(), teacher=tiny.teacher())
    for network in networks.values():
        network['decode_head'].update(
            num_classes=2, out_channels=1, threshold=0.3,
            loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True))
    said = tried(data, tmp_path, (64, 64), distiller, **networks)
    assert said.startswith(f'{name}.preds_S is (1, 1, 8, 8), logits of one channel')
    assert 'KLDivergence takes a softmax over the channels' in said
    assert 'Take PKLLoss' in said


def test_trying_changes_no_training(data, tmp_path):
    """The same weights with the hook and without: no state and no draw is touched."""
    found = []
    for hooks in ([], [dict(type='mmrazor.CheckTeacherHook')]):
        cfg = tiny.runner_cfg(
            data, tmp_path / str(len(hooks)), iters=2, custom_hooks=hooks)
        cfg.train_dataloader.dataset.pipeline.insert(
            1, dict(type='Resize', scale=(32, 32), keep_ratio=False))
        runner = tiny.Runner.from_cfg(cfg)
        runner.train()
        found.append(tiny.weights(runner.model))
    assert tiny.same(*found)


def alone(data, tmp_path, network, checkpoint, pipeline=None):
    """mIoU of a network of its own on the validation images."""
    cfg = tiny.runner_cfg(data, tmp_path / 'alone', model=network)
    cfg.load_from = str(checkpoint)
    if pipeline:
        cfg.test_dataloader.dataset.pipeline = pipeline
    return tiny.Runner.from_cfg(cfg).test()['mIoU']


@pytest.fixture
def pair_of(data, tmp_path):
    """Checkpoints of a teacher and of a student, and what each reaches."""
    tiny.save_teacher(tmp_path / 'teacher.pth')
    net = tiny.MODELS.build(tiny.student())
    net.init_weights()
    tiny.give_history(net)
    tiny.torch.save(dict(state_dict=net.state_dict()), tmp_path / 'student.pth')
    scores = [
        alone(data, tmp_path, network, tmp_path / f'{name}.pth', pipeline)
        for name, network, pipeline in (
            ('teacher', tiny.teacher(), AT_64), ('student', tiny.student(), None))]
    assert 0 < scores[0] != scores[1] > 0
    return tmp_path / 'teacher.pth', tmp_path / 'student.pth', *scores


@pytest.mark.parametrize('distilled', [False, True])
def test_student_is_scored_with_its_own_network(data, tmp_path, pair_of, distilled):
    """On all validation images, by its own pipeline; the training is untouched."""
    teacher, student, theirs, own = pair_of
    if distilled:  # what a distillation writes
        weights = tiny.torch.load(student, weights_only=True)['state_dict']
        weights = {f'architecture.{k}': v for k, v in weights.items()}
        tiny.torch.save(dict(state_dict=weights), student)
    hook = dict(student=str(student), pipeline=AT_64, margin=theirs - own - 0.01)
    said = trained(data, tmp_path, teacher, **hook)
    assert said[0].startswith('Teacher on 3 validation images: ')
    assert said[1] == (
        f'CheckTeacherHook: the teacher reaches mIoU {theirs:.2f} and the student '
        f'alone {own:.2f}: {theirs - own:+.2f} points')
    assert len(said) == 2


def test_scoring_changes_no_training(data, tmp_path, pair_of):
    teacher, student, *_ = pair_of
    found = []
    for hooks in ([], [dict(
            type='mmrazor.CheckTeacherHook', student=str(student), margin=-100)]):
        cfg = tiny.runner_cfg(
            data, tmp_path / f'work{len(hooks)}', iters=2, custom_hooks=hooks,
            model=tiny.model_cfg(teacher_ckpt=str(teacher)))
        runner = tiny.Runner.from_cfg(cfg)
        runner.train()
        found.append({**tiny.weights(runner.model), **{
            k: v.clone() for k, v in runner.model.named_buffers()}})
    assert tiny.same(*found)


@pytest.mark.parametrize(('number', 'margin', 'enough'), [
    (-2, 2, True), (-1.9, 2, False), (-1.9, 1.5, True), (5, -6, True)])
def test_margin(data, tmp_path, pair_of, number, margin, enough):
    """The student's figure is given, so many points beside the teacher's."""
    teacher, _, theirs, _ = pair_of
    hook = dict(student=theirs + number, margin=margin, pipeline=AT_64)
    if enough:
        assert trained(data, tmp_path, teacher, **hook)[1].endswith(
            f'{theirs + number:.2f}: {-number:+.2f} points')
        return
    with pytest.raises(DistillationError) as error:
        trained(data, tmp_path, teacher, **hook)
    text = str(error.value)
    assert text.startswith(
        f'the teacher reaches mIoU {theirs:.2f} and the student alone '
        f'{theirs - 1.9:.2f}: +1.90 points, less than margin=2. ')
    assert 'give another one (model.teacher_ckpt' in text
    assert 'a smaller margin; stop=False of CheckTeacherHook trains' in text
    assert not list((tmp_path / 'work').rglob('iter_*.pth'))


def test_warning_instead_of_stopping(data, tmp_path, pair_of):
    teacher, _, theirs, _ = pair_of
    said = trained(
        data, tmp_path, teacher, student=99, stop=False, pipeline=AT_64)
    assert said[1].startswith(
        f'CheckTeacherHook: the teacher reaches mIoU {theirs:.2f} and the student '
        f'alone 99.00: {theirs - 99:+.2f} points, less than margin=2.0. A teacher')


def test_another_metric_and_few_batches(data, tmp_path, pair_of):
    teacher, *_ = pair_of
    said = trained(
        data, tmp_path, teacher, student=0.0, metric='aAcc', num_batches=2)
    assert said[0].startswith('Teacher on 2 validation images: aAcc ')
    accuracy = said[0].split('aAcc ')[1].split(',')[0]
    assert f'reaches aAcc {accuracy} and the student alone 0.00' in said[1]
    with pytest.raises(DistillationError, match=(
            "metric='IoU' is none of val_evaluator; there are aAcc, mIoU, mAcc")):
        trained(data, tmp_path, teacher, student=0.0, metric='IoU')


def test_checkpoint_of_another_student(data, tmp_path, pair_of):
    teacher, *_ = pair_of
    with pytest.raises(DistillationError, match='the student was not scored: '):
        trained(data, tmp_path, teacher, student=str(teacher))
    with pytest.raises(DistillationError, match=(
            r"student='.*best_\*.pth' matches no file; expected one. Train the student "
            'alone first')):
        trained(data, tmp_path, teacher, student=str(tmp_path / 'best_*.pth'))


def test_student_without_a_score_of_the_teacher():
    with pytest.raises(ValueError, match='student=80 is compared with the score'):
        CheckTeacherHook(student=80, num_batches=0)
    assert CheckTeacherHook(student=80).num_batches == -1
    assert CheckTeacherHook().num_batches == 0
