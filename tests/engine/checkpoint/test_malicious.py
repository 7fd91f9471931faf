"""A file that runs code when it is unpickled runs none, by whatever way it comes in.

Each way is also tried with the explicit ``unsafe-pickle://``, by which it does: what
did not run could have.
"""

import contextlib
import copy
import os
import runpy
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader
from mmseg.apis import MMSegInferencer, init_model

from fastsegformer_mm.distillation import DistillationError
from fastsegformer_mm.engine.checkpoint import CheckpointError, read_checkpoint
from fastsegformer_mm.engine.checkpoint.student import export_student
from fastsegformer_mm.models.backbones import EfficientFormerV2, SwinLastNorm

TESTS = Path(__file__).parents[2]
TOOLS = TESTS.parent / 'tools' / 'model_converters'
tiny = SimpleNamespace(**runpy.run_path(str(TESTS / 'distillation' / 'tiny.py')))
set_up = tiny.set_up


class Attack:
    """Makes a folder when it is unpickled."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Data, and what MMEngine's Runner has written."""
    folder = tmp_path_factory.mktemp('trained')
    data = tiny.write_data(folder / 'data')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Config, 'pretty_text', property(lambda self: '# config'))
        tiny.runner(data, folder, iters=2, model=tiny.student()).train()
    return data, read_checkpoint(folder / 'iter_2.pth')


def in_meta(content, attack, path):
    content['meta']['extra'] = attack
    torch.save(content, path)


def in_state_dict(content, attack, path):
    content['state_dict']['backbone.extra'] = attack
    torch.save(content, path)


def in_message_hub(content, attack, path):
    content['message_hub']['runtime_info']['extra'] = attack
    torch.save(content, path)


def before_torch_1_6(content, attack, path):
    content['meta']['extra'] = attack
    torch.save(content, path, _use_new_zipfile_serialization=False)


def all_of_it(content, attack, path):
    torch.save(attack, path)


def in_tar(content, attack, path):
    """The format of before torch 0.2: pickles in a TAR archive."""
    torch.save(attack, f'{path}.part', _use_new_zipfile_serialization=False)
    with tarfile.open(path, 'w') as file:
        for name in ('storages', 'tensors', 'pickle'):
            file.add(f'{path}.part', name)
    os.remove(f'{path}.part')


KINDS = (in_meta, in_state_dict, in_message_hub, before_torch_1_6, all_of_it, in_tar)


def run_tool(name, path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [name, path, f'{path}.out'])
        try:
            runpy.run_path(str(TOOLS / name), run_name='__main__')
        except SystemExit as end:
            if end.code:
                raise


def student_runner(case, load_from=None, **changes):
    return tiny.runner(
        case.data, case.work_dir, model=tiny.student(), load_from=load_from, **changes
    )


def by_load_from_to_train(case, path):
    student_runner(case, path).train()


def by_load_from_to_test(case, path):
    student_runner(case, path).test()


def by_resume(case, path):
    student_runner(case, path, resume=True).train()


def by_automatic_resume(case, path):
    case.work_dir.joinpath('last_checkpoint').write_text(path)
    student_runner(case, resume=True).train()


def init_cfg(path, **kwargs):
    return dict(type='Pretrained', checkpoint=path, **kwargs)


def by_init_cfg(case, path):
    tiny.MODELS.build(tiny.student(init_cfg=init_cfg(path))).init_weights()


def by_init_cfg_with_prefix(case, path):
    cfg = tiny.student()
    cfg['decode_head']['init_cfg'] = init_cfg(path, prefix='decode_head')
    tiny.MODELS.build(cfg).init_weights()


def by_efficientformer(case, path):
    arch = dict(embed_dims=[8] * 4, mlp_ratios=[[2]] * 4, num_attention=0)
    EfficientFormerV2(arch, init_cfg=init_cfg(path)).init_weights()


def by_swin(case, path):
    SwinLastNorm(
        embed_dims=8,
        depths=(1, 1, 1, 1),
        num_heads=(1, 1, 1, 1),
        init_cfg=init_cfg(path),
    ).init_weights()


def by_teacher_ckpt(case, path):
    tiny.build(teacher_ckpt=path, allow_random_teacher=False).init_weights()


def by_teacher_of_a_training(case, path):
    model = tiny.model_cfg(teacher_ckpt=path, allow_random_teacher=False)
    tiny.runner(case.data, case.work_dir, model=model).train()


def by_converter(case, path):
    run_tool('fastsegformer2mmseg.py', path)


def by_export_tool(case, path):
    run_tool('export_student.py', path)


def by_export(case, path):
    export_student(path, f'{path}.out')


def by_init_model(case, path):
    cfg = Config(dict(model=tiny.student(), default_scope='mmseg'))
    init_model(cfg, path, device='cpu')


def by_inferencer(case, path):
    cfg = tiny.runner_cfg(
        case.data,
        case.work_dir,
        model=tiny.student(),
        visualizer=dict(type='SegLocalVisualizer'),
    )
    MMSegInferencer(model=cfg._cfg_dict, weights=path, device='cpu')


def by_mmengine(case, path):
    CheckpointLoader.load_checkpoint(path, map_location='cpu')


def by_read_checkpoint(case, path):
    read_checkpoint(path)


WAYS = [way for name, way in sorted(globals().items()) if name.startswith('by_')]


@pytest.mark.parametrize('way', WAYS, ids=lambda way: way.__name__)
def test_nothing_runs(trained, tmp_path, way):
    data, content = trained
    case = SimpleNamespace(data=data, work_dir=tmp_path)
    ran = tmp_path / 'ran'
    path = str(tmp_path / 'iter_2.pth')
    for kind in KINDS:
        kind(copy.deepcopy(content), Attack(ran), path)
        with pytest.raises((CheckpointError, DistillationError, SystemExit)) as error:
            way(case, path)
        assert not ran.exists()
        told = str(error.value)
        assert path in told
        assert ('posix.mkdir' in told) != (kind is in_tar)
        assert ('TAR' in told) == (kind is in_tar)


@pytest.mark.parametrize('way', WAYS, ids=lambda way: way.__name__)
def test_it_does_by_the_explicit_name(trained, tmp_path, way):
    data, content = trained
    case = SimpleNamespace(data=data, work_dir=tmp_path)
    ran = tmp_path / 'ran'
    path = str(tmp_path / 'iter_2.pth')
    in_meta(copy.deepcopy(content), Attack(ran), path)
    # what it is of no use for says so afterwards
    with contextlib.suppress(
        CheckpointError, DistillationError, ValueError, SystemExit, RuntimeError
    ):
        way(case, f'unsafe-pickle://{path}')
    assert ran.is_dir()


CODE = "__import__('os').mkdir({!r})\nmodel = dict(type='EncoderDecoder')\n"


def test_the_config_in_a_checkpoint_does_not_run(trained, tmp_path):
    """It is Python, and MMEngine runs it to resume; inference by weights alone is in
    robust_training's tests."""
    data, content = trained
    ran = tmp_path / 'ran'
    code = CODE.format(str(ran))
    content = copy.deepcopy(content)
    content['meta'].update(cfg=code, config=code)
    content['message_hub']['runtime_info']['cfg'] = code
    path = str(tmp_path / 'iter_2.pth')
    torch.save(content, path)
    case = SimpleNamespace(data=data, work_dir=tmp_path)
    runner = student_runner(case, path, resume=True)
    runner.train()
    assert runner.iter == 2
    assert 'mkdir' not in str(runner.message_hub.get_info('cfg'))
    assert not ran.exists()


def test_what_the_runner_wrote_loads_by_every_way_of_a_run(trained, tmp_path):
    """The same file without the attack; the ways above do not fail for all files."""
    data, content = trained
    path = str(tmp_path / 'iter_2.pth')
    torch.save(content, path)
    case = SimpleNamespace(data=data, work_dir=tmp_path)
    for way in (
        by_load_from_to_train,
        by_load_from_to_test,
        by_resume,
        by_automatic_resume,
        by_init_cfg,
        by_init_cfg_with_prefix,
        by_init_model,
        by_inferencer,
        by_mmengine,
    ):
        way(case, path)
