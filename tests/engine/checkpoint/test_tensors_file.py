"""safetensors out and in: weights, and what is known of them."""

import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.apis import MMSegInferencer, init_model
from safetensors import safe_open

from fastsegformer_mm.distillation.hooks import ExportStudentHook
from fastsegformer_mm.engine.checkpoint import read_checkpoint
from fastsegformer_mm.engine.checkpoint.student import export_student
from fastsegformer_mm.engine.checkpoint.tensors_file import safetensors_bytes

TESTS = Path(__file__).parents[2]
TOOL = TESTS.parent / 'tools/model_converters/export_student.py'
tiny = SimpleNamespace(**runpy.run_path(str(TESTS / 'distillation' / 'tiny.py')))
set_up = tiny.set_up


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return tiny.write_data(tmp_path_factory.mktemp('data'))


@pytest.fixture(scope='module')
def trained(data, tmp_path_factory):
    """A distillation's work dir, its students, and what the validation said."""
    folder = tmp_path_factory.mktemp('work')
    init_default_scope('mmseg')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Config, 'pretty_text', property(lambda self: '# config'))
        runner = tiny.runner(
            data,
            folder,
            iters=4,
            custom_hooks=[
                dict(type='mmrazor.ExportStudentHook', suffix='.safetensors')
            ],
        )
        validated = {}
        val = runner.val_loop.run
        runner.val_loop.run = lambda: validated.update(val()) or validated
        runner.train()
    return SimpleNamespace(folder=folder, validated=validated)


def test_what_other_programs_see(trained):
    path = trained.folder / 'student' / 'iter_4.safetensors'
    with safe_open(path, 'np') as file:
        texts = file.metadata()
        assert file.get_tensor('decode_head.conv_seg.weight').shape == (4, 8, 1, 1)
    assert texts['format'] == 'pt'
    assert json.loads(texts['dataset_meta'])['classes'] == list(tiny.CLASSES)
    assert json.loads(texts['dataset_meta'])['palette'] == tiny.PALETTE
    assert json.loads(texts['iter']) == 4
    assert 'cfg' not in texts


def test_the_same_as_the_other_format(trained, tmp_path, monkeypatch):
    src = trained.folder / 'iter_4.pth'
    pth = read_checkpoint(export_student(src, tmp_path / 'a.pth'))
    out = tmp_path / 'new' / 'a.safetensors'
    monkeypatch.setattr(sys, 'argv', ['export_student.py', str(src), str(out)])
    try:
        runpy.run_path(str(TOOL), run_name='__main__')
    except SystemExit as end:
        if end.code:
            raise
    found = read_checkpoint(out)
    assert tiny.same(dict(found['state_dict']), dict(pth['state_dict']))
    assert found['meta'].pop('format') == 'pt'
    assert found['meta'].keys() == pth['meta'].keys()
    for key in ('iter', 'epoch', 'seed', 'mmengine_version'):
        assert found['meta'][key] == pth['meta'][key]
    assert found['meta']['dataset_meta']['classes'] == tiny.CLASSES
    written = trained.folder / 'student' / 'iter_4.safetensors'
    assert tiny.same(found['state_dict'], read_checkpoint(written)['state_dict'])
    assert [p.name for p in out.parent.iterdir()] == ['a.safetensors']


def test_it_is_tested_like_any_checkpoint(trained, data, tmp_path):
    cfg = tiny.runner_cfg(
        data,
        tmp_path,
        model=tiny.student(),
        custom_hooks=[dict(type='CheckCheckpointHook')],
        load_from=str(trained.folder / 'student' / 'iter_4.safetensors'),
    )
    assert tiny.Runner.from_cfg(cfg).test() == trained.validated
    assert 0 < trained.validated['mIoU'] < 100


def test_inference_knows_the_classes(trained, data, tmp_path):
    path = str(trained.folder / 'student' / 'iter_4.safetensors')
    cfg = tiny.runner_cfg(
        data, tmp_path, model=tiny.student(), visualizer=dict(type='SegLocalVisualizer')
    )
    inferencer = MMSegInferencer(model=cfg._cfg_dict, weights=path, device='cpu')
    for model in (init_model(cfg, path, device='cpu'), inferencer.model):
        assert model.dataset_meta['classes'] == tiny.CLASSES
        assert model.dataset_meta['palette'] == tiny.PALETTE
        weights = read_checkpoint(path)['state_dict']
        assert tiny.same(dict(model.state_dict()), weights)


def test_files_of_removed_checkpoints_go_too(data, tmp_path):
    checkpoint = dict(
        type='CheckpointHook', by_epoch=False, interval=1, max_keep_ckpts=1
    )
    hook = dict(type='mmrazor.ExportStudentHook', suffix='.safetensors')
    for iters in (1, 3):
        tiny.runner(
            data,
            tmp_path,
            iters=iters,
            custom_hooks=[hook],
            resume=iters > 1,
            default_hooks=dict(checkpoint=checkpoint),
        ).train()
    assert [p.name for p in (tmp_path / 'student').iterdir()] == ['iter_3.safetensors']


def test_unknown_suffix():
    with pytest.raises(ValueError, match=r"suffix='\.onnx'; expected one of \.pth,"):
        ExportStudentHook(suffix='.onnx')


def test_values_that_are_no_json(tmp_path):
    path = tmp_path / 'a.safetensors'
    meta = dict(
        score=np.float64(0.5),
        palette=np.eye(2, dtype=int),
        text='a b',
        none=None,
        folder=Path('x'),
        dataset_meta=dict(classes=('a', 'b')),
        odd='3',
    )
    path.write_bytes(safetensors_bytes({'w': torch.ones(1)}, meta))
    assert read_checkpoint(path)['meta'] == dict(
        format='pt',
        score=0.5,
        palette=[[1, 0], [0, 1]],
        text='a b',
        none=None,
        folder='x',
        dataset_meta=dict(classes=('a', 'b')),
        odd='3',
    )


def test_weights_that_share_memory(tmp_path):
    both = torch.arange(4.0)
    weights = {
        'a': both,
        'b': both[1:3],
        'c': both.reshape(2, 2).T,
        'd': torch.tensor(7),
    }
    path = tmp_path / 'a.safetensors'
    path.write_bytes(safetensors_bytes(weights, {}))
    found = read_checkpoint(path)['state_dict']
    assert {k: v.tolist() for k, v in found.items()} == dict(
        a=[0, 1, 2, 3], b=[1, 2], c=[[0, 2], [1, 3]], d=7
    )
    assert found['d'].dtype == torch.int64
    with pytest.raises(TypeError, match="'x' is a list; safetensors holds tensors al"):
        safetensors_bytes({'x': [1]}, {})
