"""A checkpoint into an artefact that is kept only if it equals its network."""

import json
import os
import runpy
import signal
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from fastsegformer_mm.deploy import DefectSegmentor
from fastsegformer_mm.deploy import quantization as quantization_module
from fastsegformer_mm.deploy.backends.artefact import read_card
from fastsegformer_mm.deploy.backends.openvino_core import openvino_core
from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.export import (
    ExportOptions,
    ParityError,
    export_model,
    report_path,
)
from fastsegformer_mm.deploy.export import export as export_module
from fastsegformer_mm.deploy.export.build import OnnxBuild, OpenVinoBuild
from fastsegformer_mm.deploy.network import load_network

case = SimpleNamespace(
    **runpy.run_path(str(Path(__file__).with_name('export_case.py')))
)


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """Config, checkpoint, folder of frames, folder of labels."""
    folder = tmp_path_factory.mktemp('case')
    return SimpleNamespace(
        **dict(zip(('config', 'checkpoint'), case.write_case(folder))),
        **dict(zip(('images', 'labels'), case.write_frames(folder))),
    )


def export(files, out, **options):
    options.setdefault('images', [files.images])
    options.setdefault('threads', 1)
    options.setdefault('format', 'openvino' if out.suffix == '.xml' else 'onnx')
    return export_model(files.config, files.checkpoint, out, ExportOptions(**options))


def own_masks(files):
    """By the network in PyTorch."""
    with DefectSegmentor(
        str(files.config), 'torch', 'cpu', checkpoint=files.checkpoint
    ) as segmentor:
        frames = [cv2.imread(str(f)) for f in sorted(files.images.iterdir())]
        return frames, [found.mask for found in segmentor(frames)]


@pytest.mark.parametrize('name', ['a.onnx', 'a.xml'])
def test_an_artefact_is_the_network(files, name, tmp_path):
    out = tmp_path / name
    found = export(files, out, labels=files.labels)
    assert found.failures() == []
    assert found.images == 3
    assert found.relative < 1e-5
    assert found.equal == 1.0
    assert found.miou[0] == found.miou[1] > 0
    assert found.other_sizes == {}
    assert found.tolerance == {'logits': 1e-4, 'equal': 0.9999}
    _, card = load_network(files.config, files.checkpoint)
    written = read_card(out)
    assert (written.shape, written.batch, written.precision) == ((64, 64), 1, 'fp32')
    assert written.sha256 == card.sha256
    assert written.classes == card.classes
    report = json.loads(report_path(out).read_text())
    assert report['card']['sha256'] == card.sha256
    assert report['equal'] == 1.0
    assert report['relative'] == found.relative
    # nothing else is left
    beside = {out.name, report_path(out).name}
    beside |= {'a.bin'} if name == 'a.xml' else set()
    assert {f.name for f in tmp_path.iterdir()} == beside
    frames, masks = own_masks(files)
    with DefectSegmentor(str(out), threads=1) as segmentor:
        for picture, mask in zip(frames, masks):
            assert (segmentor(picture).mask == mask).mean() > 0.995


@pytest.mark.parametrize('name', ['a.onnx', 'a.xml'])
def test_frames_in_and_masks_out(files, name, tmp_path):
    out = tmp_path / name
    found = export(files, out, with_pre=True, with_post=True)
    assert found.equal > 0.999
    assert found.miou is None
    assert found.tolerance['equal'] == 0.999
    frames, masks = own_masks(files)
    with DefectSegmentor(str(out), threads=1) as segmentor:
        for picture, mask in zip(frames, masks):
            got = segmentor(picture).mask
            assert got.shape == mask.shape
            assert (got == mask).mean() > 0.99


def test_masks_out_alone(files, tmp_path):
    found = export(files, tmp_path / 'a.onnx', with_post=True)
    assert found.equal == 1.0


def test_free_sizes_are_checked_at_others(files, tmp_path):
    found = export(files, tmp_path / 'a.onnx', shape='dynamic', batch='dynamic')
    assert list(found.other_sizes) == ['1 x 96 x 160', '1 x 64 x 96', '2 x 64 x 64']
    assert max(found.other_sizes.values()) < 1e-4
    card = read_card(tmp_path / 'a.onnx')
    assert (card.shape, card.batch) == (None, None)


def test_another_shape_than_trained(files, tmp_path):
    found = export(files, tmp_path / 'a.onnx', shape=(48, 80))
    card = read_card(tmp_path / 'a.onnx')
    assert card.size == card.shape == (48, 80)
    assert found.equal == 1.0


def test_without_the_deploy_form(files, tmp_path, monkeypatch):
    forms = []
    own = export_module.reparameterize
    monkeypatch.setattr(
        export_module, 'reparameterize', lambda n, **k: forms.append(n) or own(n, **k)
    )
    export(files, tmp_path / 'a.onnx', reparameterize=False)
    assert forms == []
    plain = (tmp_path / 'a.onnx').read_bytes()
    export(files, tmp_path / 'a.onnx')
    assert len(forms) == 1
    assert plain != (tmp_path / 'a.onnx').read_bytes()


def test_outside_its_tolerance_nothing_is_left(files, tmp_path):
    out = tmp_path / 'deep' / 'a.onnx'
    with pytest.raises(ParityError, match=r'allowed are 0.0e\+00 \(logits\)') as caught:
        export(files, out, tolerance={'logits': 0})
    assert caught.value.parity.images == 3
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize('name', ['a.onnx', 'a.xml'])
@pytest.mark.parametrize('error', [KeyboardInterrupt, OSError])
def test_what_was_there_stays(files, name, error, tmp_path, monkeypatch):
    out = tmp_path / name
    for file in (out, out.with_suffix('.bin'), report_path(out)):
        file.write_text(file.name)
    before = {f.name: f.read_text() for f in tmp_path.iterdir()}

    def fail(self, *args):
        raise error

    for build in (OnnxBuild, OpenVinoBuild):
        monkeypatch.setattr(build, 'finish', fail)
    with pytest.raises(error):
        export(files, out)
    assert {f.name: f.read_text() for f in tmp_path.iterdir()} == before


def test_all_files_of_an_artefact_change_together(tmp_path, monkeypatch):
    """A signal between two of them waits."""
    folder = tmp_path / 'made'
    folder.mkdir()
    for name in ('model.xml', 'model.bin', 'report.json'):
        (folder / name).write_text(name)
    done, own = [], os.replace

    def replace(source, target):
        if not done:
            signal.raise_signal(signal.SIGINT)
        done.append(Path(target).name)
        own(source, target)

    out = tmp_path / 'a.xml'
    monkeypatch.setattr(os, 'replace', replace)
    with pytest.raises(KeyboardInterrupt):
        export_module._keep(folder / 'model.xml', folder / 'report.json', out)
    assert done == ['a.bin', 'a.xml', 'a.xml.parity.json']
    assert out.read_text() == 'model.xml'


def test_without_images_they_are_drawn(files, tmp_path):
    found = export(files, tmp_path / 'a.onnx', images=[])
    assert found.synthetic
    assert found.images == 8
    assert json.loads(report_path(tmp_path / 'a.onnx').read_text())['synthetic']


@pytest.mark.parametrize('geometry', ['train', 'test'])
def test_int8_of_onnx_runtime(files, geometry, tmp_path, monkeypatch):
    asked = []

    def images(cfg, num, geometry):
        asked.append((num, geometry))
        size = (64, 64) if geometry == 'train' else (48, 64)
        frames = (case.cases['frame'](*size, seed) for seed in range(num))
        return (np.float32(f.transpose(2, 0, 1)[None]) / 50 - 2.2 for f in frames)

    monkeypatch.setattr(quantization_module, 'calibration_images', images)
    found = export(
        files,
        tmp_path / 'a.onnx',
        precision='int8',
        calibration=4,
        shape=(48, 64) if geometry == 'test' else None,
        with_pre=True,
        tolerance={'equal': 0.8},
    )
    assert asked == [(4, geometry)]
    assert 1e-3 < found.relative < 0.3
    assert 0.8 < found.equal < 1
    assert read_card(tmp_path / 'a.onnx').precision == 'int8'


def test_int8_of_openvino_is_judged_by_miou(files, tmp_path, monkeypatch):
    seen = SimpleNamespace()

    def quantize(model, images, *, accuracy, max_drop):
        seen.images = list(images)
        seen.trained = accuracy(model)
        seen.miou = accuracy(model.clone())
        seen.max_drop = max_drop
        return model

    monkeypatch.setattr(quantization_module, 'quantize_openvino', quantize)
    monkeypatch.setattr(
        quantization_module, 'calibration_images', lambda cfg, num, geometry: [num]
    )
    found = export(
        files,
        tmp_path / 'a.xml',
        precision='int8',
        max_drop=0.1,
        calibration=7,
        labels=files.labels,
        with_post=True,
        tolerance={'miou': 100},
    )
    assert seen.images == [7]
    assert seen.max_drop == 0.1
    # counted from MMSegmentation's float32, down to the whole artefact as it runs
    assert (seen.trained, seen.miou) == found.miou
    # INT8 models compute the rest in bfloat16 where the processor does
    known = openvino_core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
    assert (seen.trained != seen.miou) == ('BF16' in known)
    assert found.tolerance == {'miou': 100}


def test_overridden_settings_reach_the_network(files, tmp_path):
    export_model(
        files.config,
        files.checkpoint,
        tmp_path / 'a.onnx',
        ExportOptions(images=[files.images], threads=1, num=1),
        {'model.data_preprocessor.mean': [1.0, 2.0, 3.0]},
    )
    assert read_card(tmp_path / 'a.onnx').mean == (1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(format='tflite'), '--format tflite; expected one of onnx, openvino'),
        (dict(format='openvino'), r'a name that ends in \.xml'),
        (dict(precision='fp8'), 'expected one of fp32, bf16, fp16, int8'),
        (dict(batch=2), 'expected one of 1, dynamic'),
        (dict(shape=(64,)), 'expected height and width'),
        (dict(precision='bf16'), 'trtexec --bf16'),
        (dict(max_drop=0.2), 'openvino --precision int8'),
        (dict(shape='dynamic', with_pre=True), 'Leave --shape out'),
        (dict(tolerance={'pixels': 1}), 'logits, equal or miou'),
        (dict(tolerance={'miou': 1}), 'there are no labels'),
        (dict(num=-1), r'0 \(all\) or more'),
        (dict(images=['absent']), 'there is no such file or folder'),
        (dict(images=[], labels='x'), 'goes with images'),
        (dict(labels='absent'), 'there is no 0.png for'),
        (dict(split='val', images=[]), 'has no val_dataloader'),
        (dict(split='test', images=[]), 'the data set cannot be read'),
    ],
)
def test_what_cannot_be_made(files, options, message, tmp_path):
    with pytest.raises(DeployError, match=message):
        export(files, tmp_path / 'a.onnx', **dict(dict(format='onnx'), **options))
    assert list(tmp_path.iterdir()) == []


def test_max_drop_needs_labels(files, tmp_path):
    with pytest.raises(DeployError, match='needs labelled images'):
        export(files, tmp_path / 'a.xml', precision='int8', max_drop=0.2)


def test_a_fixed_shape_needs_a_pipeline_that_gives_it(files, tmp_path):
    cfg = Config.fromfile(files.config)
    cfg.test_dataloader.dataset.pipeline[1] = dict(
        type='Resize', scale=(96, 64), keep_ratio=True
    )
    options = ExportOptions(images=[files.images], shape=(64, 64))
    with pytest.raises(DeployError, match="frame's size decides"):
        export_model(cfg, files.checkpoint, tmp_path / 'a.onnx', options)
    # and is free by itself
    options = ExportOptions(images=[files.images], threads=1, with_pre=True)
    export_model(cfg, files.checkpoint, tmp_path / 'a.onnx', options)
    assert read_card(tmp_path / 'a.onnx').shape is None
