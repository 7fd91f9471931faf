"""CheckCheckpointHook: what is loaded fits, or the run ends before it begins."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from fastsegformer_mm.engine.checkpoint import CheckpointError

tiny = SimpleNamespace(
    **runpy.run_path(str(Path(__file__).parents[1] / 'distillation' / 'tiny.py'))
)
set_up = tiny.set_up
CHECK = dict(type='CheckCheckpointHook')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return tiny.write_data(tmp_path_factory.mktemp('data'))


@pytest.fixture(scope='module')
def written(data, tmp_path_factory):
    """A folder with a training of the student, and one of the distillation."""
    folder = tmp_path_factory.mktemp('written')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Config, 'pretty_text', property(lambda self: '# config'))
        init_default_scope('mmseg')
        tiny.runner(data, folder / 'student', iters=1, model=tiny.student()).train()
        tiny.runner(data, folder / 'distilled', iters=1).train()
    return folder


@pytest.fixture
def start(data, tmp_path):
    """A run, and what it said of the checkpoint."""

    def start(what, path, model=None, hook=None, said=None, **changes):
        cfg = dict(
            custom_hooks=[dict(CHECK, **(hook or {})), *changes.pop('hooks', [])],
            load_from=str(path),
            model=model or tiny.student(),
            **changes,
        )
        runner = tiny.runner(data, tmp_path, **cfg)
        with tiny.messages(runner.logger) as messages:
            try:
                getattr(runner, what)()
            finally:
                if said is not None:
                    said += [m for m in messages if m.startswith('CheckCheck')]
        return runner

    return start


def changed(path, out, change, key='state_dict'):
    content = torch.load(path, weights_only=False)
    change(content[key] if key else content)
    torch.save(content, out)
    return out


@pytest.mark.parametrize(
    ('what', 'resume'),
    [('test', False), ('train', False), ('train', True), ('val', False)],
)
def test_what_fits_is_loaded_without_a_word(written, start, what, resume):
    said = []
    runner = start(what, written / 'student' / 'iter_1.pth', said=said, resume=resume)
    assert said == []
    assert runner.iter == (2 if what == 'train' else 0)


@pytest.mark.parametrize(
    ('what', 'resume'), [('test', False), ('train', False), ('train', True)]
)
def test_other_number_of_classes(written, start, what, resume):
    path = written / 'student' / 'iter_1.pth'
    model = tiny.student(classes=7)
    with pytest.raises(
        CheckpointError,
        match=(
            rf"'{path}' was trained for another number of classes \(background, crack, "
            r'ulcer, scar\): decode_head\.conv_seg\.weight: 4 classes in the file, '
            '7 in the config'
        ),
    ) as error:
        start(what, path, model=model, resume=resume)
    fine_tuning = what == 'train' and not resume
    anew = "allow_mismatch=['decode_head.conv_seg']"
    assert (anew in str(error.value)) == fine_tuning
    if not fine_tuning:
        # no name of a weight helps there
        with pytest.raises(CheckpointError, match='number of classes'):
            start(what, path, model, dict(allow_mismatch='conv_seg'), resume=resume)


def test_the_classifier_starts_anew_where_it_is_named(written, start, capsys):
    said = []
    path = written / 'student' / 'iter_1.pth'
    ema = dict(type='EMAHook', strict_load=False)
    runner = start(
        'train',
        path,
        tiny.student(classes=7),
        dict(allow_mismatch=['conv_seg']),
        said,
        hooks=[ema],
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)),
    )
    # MMEngine finds nothing to complain about
    assert 'size mismatch' not in capsys.readouterr().out
    weights = torch.load(path, weights_only=False)['state_dict']
    own = runner.model.state_dict()
    for name, value in own.items():
        if 'conv_seg' not in name and 'running' not in name and 'num_b' not in name:
            assert torch.equal(value, weights[name]), name
    assert own['decode_head.conv_seg.weight'].shape[0] == 7
    assert said == [
        f'CheckCheckpointHook: {path}: 2 weights have another shape and start anew, as '
        'allow_mismatch: decode_head.conv_seg.weight, decode_head.conv_seg.bias'
    ]


def without_project(weights):
    del weights['backbone.project.bias']


def with_auxiliary(weights):
    weights['auxiliary_head.conv_seg.weight'] = torch.ones(1)


def with_module_prefix(weights):
    for key in list(weights):
        weights[f'module.{key}'] = weights.pop(key)


def test_missing_weights(written, start, tmp_path):
    path = changed(
        written / 'student' / 'iter_1.pth', tmp_path / 'a.pth', without_project
    )
    for what, resume in (('test', False), ('train', True)):
        with pytest.raises(CheckpointError, match=r'1 missing: backbone\.project'):
            start(what, path, resume=resume)
    said = []
    start('train', path, said=said)
    assert said == [
        f'CheckCheckpointHook: {path}: 1 weights are not in the file and stay as they '
        'were initialised: backbone.project.bias'
    ]


@pytest.mark.parametrize(
    ('what', 'resume'), [('test', False), ('train', False), ('train', True)]
)
def test_more_than_the_network_has(written, start, tmp_path, what, resume):
    said = []
    path = changed(
        written / 'student' / 'iter_1.pth', tmp_path / 'a.pth', with_auxiliary
    )
    start(what, path, said=said, resume=resume)
    assert said == [
        f'CheckCheckpointHook: {path}: 1 weights of the file are not in the network '
        'and are left out: auxiliary_head.conv_seg.weight'
    ]


def test_auxiliary_head_that_the_file_has_not(written, start):
    """Testing does not compute it; resuming would train it anew."""
    model = tiny.student()
    model['auxiliary_head'] = dict(model['decode_head'], in_channels=4, in_index=0)
    path = written / 'student' / 'iter_1.pth'
    said = []
    start('test', path, model=model, said=said)
    assert 'stay as they were initialised: auxiliary_head.conv_seg' in said[0]
    with pytest.raises(CheckpointError, match=r'\d missing: auxiliary_head\.'):
        start('train', path, model=model, resume=True)


def test_prefix_of_data_parallel(written, start, tmp_path):
    said = []
    path = changed(
        written / 'student' / 'iter_1.pth', tmp_path / 'a.pth', with_module_prefix
    )
    start('test', path, said=said)
    assert said == []
    start(
        'train', path, tiny.student(classes=7), dict(allow_mismatch=['conv_seg']), said
    )
    assert '2 weights have another shape' in said[0]


@pytest.mark.parametrize('what', ['train', 'test'])
def test_another_network(written, start, tmp_path, what):
    path = tmp_path / 'a.pth'
    torch.save({f'layers.{i}.w': torch.ones(1) for i in range(5)}, path)
    with pytest.raises(
        CheckpointError,
        match=(
            r"a\.pth' is that of another network: it has 0 of the 14 weights of Enc"
        ),
    ):
        start(what, path)


@pytest.mark.parametrize(
    'content',
    [dict(state_dict=[torch.ones(1)]), {}, dict(state_dict={3: torch.ones(1)})],
)
def test_no_weights(start, tmp_path, content):
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=r"a\.pth' holds no weights under their"):
        start('test', tmp_path / 'a.pth')


def test_distillation_and_student(written, start):
    distilled = written / 'distilled' / 'iter_1.pth'
    alone = written / 'student' / 'iter_1.pth'
    for what in ('test', 'train'):
        with pytest.raises(
            CheckpointError,
            match=(rf"'{distilled}' is that of a distillation, .*export_student\.py"),
        ):
            start(what, distilled)
        with pytest.raises(
            CheckpointError,
            match=(rf"'{alone}' is that of a network alone; MultiResolutionDistill is"),
        ):
            start(what, alone, model=tiny.model_cfg())
    said = []
    start('train', distilled, model=tiny.model_cfg(), said=said, resume=True)
    start('test', distilled, model=tiny.model_cfg(), said=said)
    assert said == []


def test_the_way_out_of_a_students_file(written, start):
    """A distillation whose student starts from a checkpoint of it alone."""
    path = str(written / 'student' / 'iter_1.pth')
    model = tiny.build(
        architecture=tiny.student(init_cfg=dict(type='Pretrained', checkpoint=path))
    )
    model.init_weights()
    assert tiny.same(
        model.student.state_dict(), torch.load(path, weights_only=False)['state_dict']
    )


def test_averaged_weights(data, tmp_path, start):
    """EMAHook swaps what is loaded, and saves other keys."""
    ema = dict(type='EMAHook', momentum=0.5)
    tiny.runner(
        data, tmp_path / 'first', iters=1, model=tiny.student(), custom_hooks=[ema]
    ).train()
    said = []
    path = tmp_path / 'first' / 'iter_1.pth'
    runner = start('train', path, said=said, hooks=[ema], resume=True)
    assert runner.iter == 2
    with pytest.raises(CheckpointError, match='number of classes'):
        start('train', path, tiny.student(classes=7), hooks=[ema], resume=True)
    assert said == []


def test_test_time_augmentation(written, data, tmp_path):
    """Its wrapper has no weights of its own."""
    cfg = tiny.runner_cfg(
        data,
        tmp_path,
        custom_hooks=[CHECK],
        load_from=str(written / 'student' / 'iter_1.pth'),
        model=dict(type='SegTTAModel', module=tiny.student()),
    )
    for key in (
        'train_dataloader',
        'train_cfg',
        'optim_wrapper',
        'val_dataloader',
        'val_cfg',
        'val_evaluator',
    ):
        cfg.pop(key)
    pipeline = cfg.test_dataloader.dataset.pipeline
    cfg.test_dataloader.dataset.pipeline = [
        pipeline[0],
        dict(
            type='TestTimeAug', transforms=[[pipeline[1]], [pipeline[2]], [pipeline[3]]]
        ),
    ]
    runner = tiny.Runner.from_cfg(cfg)
    with tiny.messages(runner.logger) as said:
        assert 0 < runner.test()['mIoU'] < 100
    assert not [m for m in said if 'not match' in m or m.startswith('CheckCheck')]
