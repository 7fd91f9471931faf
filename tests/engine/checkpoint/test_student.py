"""The student alone, out of a checkpoint of a distillation."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmseg.registry import MODELS

from fastsegformer_mm.engine.checkpoint.student import export_student, student_weights

TINY = Path(__file__).parents[2] / 'distillation' / 'tiny.py'
tiny = SimpleNamespace(**runpy.run_path(str(TINY)))
set_up = tiny.set_up


def test_weights_and_what_is_known_of_them(tmp_path):
    model = tiny.build()
    meta = dict(
        dataset_meta=dict(classes=tiny.CLASSES, palette=tiny.PALETTE), epoch=3,
        iter=9, cfg='model = dict()', hook_msgs=dict(best_ckpt='/home/me/b.pth'))
    file = tmp_path / 'epoch_3.pth'
    torch.save(dict(meta=meta, state_dict=model.state_dict(),
                    optimizer=dict(state=[1]), message_hub=dict(a=1)), file)
    out = export_student(file, tmp_path / 'new' / 'folder' / 'student.pth')
    assert out == tmp_path / 'new' / 'folder' / 'student.pth'
    content = torch.load(out, weights_only=True)
    assert set(content) == {'meta', 'state_dict'}
    assert content['meta'] == dict(
        dataset_meta=meta['dataset_meta'], epoch=3, iter=9)
    student = MODELS.build(tiny.student())
    student.load_state_dict(content['state_dict'], strict=True)
    assert tiny.same(student.state_dict(), model.student.state_dict())
    assert out.stat().st_size < file.stat().st_size


def test_strings_are_taken_too(tmp_path):
    file = tmp_path / 'a.pth'
    torch.save(dict(state_dict=tiny.build().state_dict()), file)
    out = export_student(str(file), str(tmp_path / 'b.pth'))
    assert out == tmp_path / 'b.pth'
    assert torch.load(out, weights_only=True)['meta'] == {}


def test_names_of_the_weights():
    assert student_weights({
        'architecture.backbone.w': 1, 'architecture.architecture.b': 2,
        'distiller.architecture.c': 3, 'backbone.w': 4}) == {
            'backbone.w': 1, 'architecture.b': 2}


@pytest.mark.parametrize('content', [
    dict(state_dict={'backbone.w': torch.ones(1)}), dict(state_dict={}),
    {'architecture.w': torch.ones(1)}, [torch.ones(1)]])
def test_no_checkpoint_of_a_distillation(content, tmp_path):
    file = tmp_path / 'a.pth'
    torch.save(content, file)
    with pytest.raises(ValueError, match=(
            f"checkpoint '{file}' is not one of a distillation: it has no weight "
            r"under 'architecture\.'\. The checkpoint of a network trained alone")):
        export_student(file, tmp_path / 'b.pth')
    assert not (tmp_path / 'b.pth').exists()


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"'{tmp_path}/none.pth' does not"):
        export_student(tmp_path / 'none.pth', tmp_path / 'b.pth')


def test_no_checkpoint(tmp_path):
    file = tmp_path / 'a.pth'
    file.write_text('<html>')
    with pytest.raises(ValueError, match='is an HTML page'):
        export_student(file, tmp_path / 'b.pth')
