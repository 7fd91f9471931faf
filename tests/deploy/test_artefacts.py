"""Exported files: their cards, what they take and give, and which runtime runs them."""

import dataclasses
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import openvino as ov
import pytest
import torch
from torch import nn

from fastsegformer_mm.deploy import DefectSegmentor
from fastsegformer_mm.deploy.backends import choice
from fastsegformer_mm.deploy.backends.artefact import read_card
from fastsegformer_mm.deploy.backends.conversion import to_onnx
from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.model_card import KEY
from fastsegformer_mm.deploy.onnx_tracing import trace_to_onnx

CASES = Path(__file__).with_name('segmentor_cases.py')
cases = SimpleNamespace(**runpy.run_path(str(CASES)))
KNOWN = ov.Core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES')


class Whole(nn.Module):
    """From a uint8 frame to a mask: 1 where blue is above 100, 2 where red is."""

    def forward(self, frame):
        blue, red = frame[..., 0] > 100, frame[..., 2] > 100
        # ONNX Runtime has no Max of bytes
        return torch.maximum(blue.int(), 2 * red.int()).to(torch.uint8)


class End(nn.Module):
    """From image and size to a mask of that size: 1 where any pixel is positive."""

    def forward(self, image, size):
        mask = (image.amax((1, 2, 3)) > 0).to(torch.uint8)
        return mask[:, None, None].expand(-1, size[0], size[1])


@pytest.fixture(scope='module')
def model():
    return cases.small_network(), cases.make_network()[1]


def write(folder, content, card, name='my'):
    """An .onnx and an .xml of the same model, with the card in both."""
    described = onnx.load_from_string(content)
    if card is not None:
        described.metadata_props.add(key=KEY, value=card.to_json())
    onnx.save(described, str(folder / f'{name}.onnx'))
    converted = ov.Core().read_model(content)
    if card is not None:
        converted.set_rt_info(card.to_json(), [KEY])
    ov.save_model(converted, folder / f'{name}.xml', compress_to_fp16=False)
    return folder / f'{name}.onnx', folder / f'{name}.xml'


@pytest.fixture(scope='module')
def files(model, tmp_path_factory):
    network, card = model
    content = to_onnx(network, (1, 3, 64, 64))
    return write(tmp_path_factory.mktemp('files'), content, card)


@pytest.mark.parametrize('index', [0, 1])
class TestFiles:
    def test_card(self, files, model, index):
        assert read_card(str(files[index])) == model[1]

    @pytest.mark.parametrize('backend', ['auto', 'openvino'])
    def test_same_masks(self, files, model, index, backend):
        frame = cases.frame()
        with DefectSegmentor(model, 'torch', 'cpu') as segmentor:
            expected = segmentor(frame).mask
        with DefectSegmentor(files[index], backend, 'cpu', threads=1) as segmentor:
            found = segmentor(frame)
            described = segmentor.describe()
        assert (found.mask != expected).sum() <= 2
        chosen = 'onnxruntime' if (index, backend) == (0, 'auto') else 'openvino'
        assert described['backend'] == chosen
        assert described['precision'] == 'fp32'

    @pytest.mark.parametrize('backend', ['torch', 'compile'])
    def test_pytorch_reads_none(self, files, index, backend):
        expected = f"backend='{backend}' cannot run an .* file; expected .*openvino"
        with pytest.raises(DeployError, match=expected):
            DefectSegmentor(files[index], backend)

    def test_weights_come_with_it(self, files, index):
        with pytest.raises(DeployError, match=r"checkpoint='best\.pth' goes with a"):
            DefectSegmentor(files[index], checkpoint='best.pth')
        with pytest.raises(DeployError, match=r"cfg_options=\{'a': 1\} goes with a"):
            DefectSegmentor(files[index], cfg_options={'a': 1})

    def test_int8_is_another_artefact(self, files, index):
        expected = "precision='int8': .* is in fp32; expected 'auto' or 'fp32'. Export"
        with pytest.raises(DeployError, match=expected):
            DefectSegmentor(files[index], device='cpu', precision='int8')

    def test_frames_in_masks_out(self, tmp_path, model, index):
        _, card = model
        content = tmp_path / 'whole.onnx'
        trace_to_onnx(
            Whole(),
            (torch.zeros(1, 8, 8, 3, dtype=torch.uint8),),
            str(content),
            input_names=['frame'],
            output_names=['mask'],
            dynamic_axes={'frame': {1: 'h', 2: 'w'}, 'mask': {1: 'h', 2: 'w'}},
        )
        card = dataclasses.replace(card, with_pre=True, with_post=True)
        path = write(tmp_path, content.read_bytes(), card)[index]
        frames = [cases.frame(40, 50), cases.frame(30, 20), cases.frame(40, 50, 1)]
        with DefectSegmentor(path, device='cpu') as segmentor:
            for frame, found in zip(frames, segmentor(frames)):
                expected = np.where(frame[..., 2] > 100, 2, frame[..., 0] > 100)
                assert found.mask.dtype == np.uint8
                assert np.array_equal(found.mask, expected)

    def test_masks_of_the_size_told(self, tmp_path, model, index):
        _, card = model
        content = tmp_path / 'end.onnx'
        trace_to_onnx(
            End(),
            (torch.zeros(1, 3, 64, 64), torch.tensor([8, 8])),
            str(content),
            input_names=['image', 'frame_size'],
            output_names=['mask'],
            dynamic_axes={'mask': {1: 'h', 2: 'w'}},
        )
        card = dataclasses.replace(card, with_post=True, shape=(64, 64))
        path = write(tmp_path, content.read_bytes(), card)[index]
        with DefectSegmentor(path, device='cpu') as segmentor:
            for shape in ((40, 50), (30, 20), (40, 50)):
                frame = cases.frame(*shape)
                mask = segmentor(frame).mask
                image, _ = segmentor.preprocess(frame)
                assert mask.shape == shape
                assert set(np.unique(mask)) == {int(image.max() > 0)}

    def test_broken(self, files, tmp_path, index):
        path = tmp_path / files[index].name
        path.write_bytes(files[index].read_bytes()[:200])
        path.with_suffix('.bin').write_bytes(b'')
        with pytest.raises(DeployError, match=f'{path.name} is no model .*broken'):
            DefectSegmentor(path)

    def test_foreign(self, tmp_path, model, index):
        content = to_onnx(model[0], (1, 3, 8, 8))
        path = write(tmp_path, content, None)[index]
        with pytest.raises(DeployError, match='does not say what its classes are'):
            DefectSegmentor(path)

    def test_missing(self, tmp_path, files, index):
        path = tmp_path / files[index].name
        with pytest.raises(DeployError, match='there is no such file; expected an'):
            DefectSegmentor(path)


class TestPrecision:
    @pytest.fixture
    def artefact(self, tmp_path, model):
        def make(precision):
            network, card = model
            card = dataclasses.replace(card, precision=precision)
            return write(tmp_path, to_onnx(network, (1, 3, 64, 64)), card)

        return make

    @pytest.mark.parametrize('precision', ['bf16', 'int8', 'fp16'])
    def test_that_of_the_card(self, artefact, precision):
        with DefectSegmentor(artefact(precision)[1], device='cpu') as segmentor:
            hint = segmentor.backend.compiled.get_property('INFERENCE_PRECISION_HINT')
            computed = segmentor.describe()['precision']
        half = {'bf16': ('BF16', ov.Type.bf16), 'fp16': ('FP16', ov.Type.f16)}
        needed, kind = half.get(precision, half['bf16'])
        assert hint == (kind if needed in KNOWN else ov.Type.f32)
        # float32 where the processor has no such arithmetic, and said to be so
        known = precision == 'int8' or needed in KNOWN
        assert computed == (precision if known else 'fp32')

    def test_less_than_float32(self, artefact):
        path = artefact('fp32')[1]
        if 'BF16' in KNOWN:
            with DefectSegmentor(path, precision='bf16') as segmentor:
                assert segmentor.describe()['precision'] == 'bf16'
        else:
            with pytest.raises(DeployError, match='does not compute in it'):
                DefectSegmentor(path, precision='bf16')

    def test_onnx_runtime_computes_in_what_is_written(self, artefact):
        path = artefact('fp32')[0]
        with pytest.raises(DeployError, match=r"precision='fp16': .* is in fp32"):
            DefectSegmentor(path, 'onnxruntime', 'cpu', precision='fp16')

    @pytest.mark.parametrize('precision', ['int8', 'bf16'])
    def test_no_way_back_to_float32(self, artefact, precision):
        with pytest.raises(DeployError, match=f"is in {precision}; expected 'auto'"):
            DefectSegmentor(artefact(precision)[1], precision='fp32')


def test_weights_beside_it(files, tmp_path):
    path = tmp_path / 'my.xml'
    path.write_bytes(files[1].read_bytes())
    with pytest.raises(DeployError, match=r'weights are missing; expected my\.bin'):
        DefectSegmentor(path)


@pytest.mark.parametrize(('package', 'index'), [('onnx', 0), ('openvino', 1)])
def test_missing_package(monkeypatch, files, package, index):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DeployError, match=r'pip install .*\[deploy\]'):
        read_card(files[index])


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        (dict(model='best.pth'), 'A checkpoint goes with its config: model=CONFIG'),
        (dict(model='model.tflite'), r'expected an exported model \(.onnx or .xml\)'),
        (dict(model=3), 'model is int; expected a path, or'),
        (dict(backend='tensorrt'), "backend='tensorrt'; expected one of auto, torch"),
        (dict(precision='fp8'), "precision='fp8'; expected one of auto, fp32, bf16"),
        (dict(threads=0), 'threads=0; expected a number of at least 1, or None'),
        (dict(threads='2'), "threads='2'; expected a number of at least 1"),
        (dict(device='tpu'), "device='tpu'; expected 'auto', 'cpu', 'cuda' or"),
        (dict(device='cuda:x'), "device='cuda:x'; expected 'auto'"),
        (dict(checkpoint='a.pth'), "checkpoint='a.pth' goes with a config"),
    ],
)
def test_options(model, options, expected):
    with pytest.raises(DeployError, match=expected):
        DefectSegmentor(**{'model': model, **options})


class TestChoice:
    @pytest.fixture
    def machine(self, monkeypatch):
        def make(gpus=0, packages=('openvino', 'onnxruntime', 'onnx')):
            monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpus > 0)
            monkeypatch.setattr(torch.cuda, 'device_count', lambda: gpus)
            monkeypatch.setattr(
                choice.importlib.util,
                'find_spec',
                lambda name: 'found' if name in packages else None,
            )
            import onnxruntime

            monkeypatch.setattr(
                onnxruntime, 'get_available_providers', lambda: ['CPUExecutionProvider']
            )

        return make

    @pytest.mark.parametrize(
        ('gpus', 'packages', 'kind', 'backend', 'device', 'expected'),
        [
            (0, 'openvino onnxruntime onnx', 'network', 'auto', 'auto', 'openvino cpu'),
            (0, 'onnxruntime onnx', 'network', 'auto', 'auto', 'onnxruntime cpu'),
            (0, 'openvino onnxruntime', 'network', 'auto', 'auto', 'torch cpu'),
            (0, '', 'network', 'auto', 'auto', 'torch cpu'),
            (1, 'openvino onnx', 'network', 'auto', 'auto', 'torch cuda:0'),
            (1, 'openvino onnx', 'network', 'auto', 'cpu', 'openvino cpu'),
            (2, 'openvino onnx', 'network', 'auto', 'cuda:1', 'torch cuda:1'),
            (2, '', 'network', 'compile', 'cuda', 'compile cuda:0'),
            (1, 'openvino onnx', 'network', 'openvino', 'auto', 'openvino cpu'),
            (
                1,
                'onnxruntime onnx',
                'network',
                'onnxruntime',
                'auto',
                'onnxruntime cpu',
            ),
            (
                0,
                'openvino onnxruntime onnx',
                '.onnx',
                'auto',
                'auto',
                'onnxruntime cpu',
            ),
            (0, 'openvino onnx', '.onnx', 'auto', 'auto', 'openvino cpu'),
            (0, '', '.onnx', 'auto', 'auto', 'onnxruntime cpu'),
            (1, 'openvino onnx', '.xml', 'auto', 'auto', 'openvino cpu'),
        ],
    )
    def test_what_runs(self, machine, gpus, packages, kind, backend, device, expected):
        machine(gpus, packages.split())
        assert choice.choose(kind, backend, device) == tuple(expected.split())

    def test_gpu_of_onnx_runtime(self, machine, monkeypatch):
        machine(1)
        import onnxruntime

        monkeypatch.setattr(
            onnxruntime, 'get_available_providers', lambda: ['CUDAExecutionProvider']
        )
        found = choice.choose('.onnx', 'auto', 'auto')
        assert found == ('onnxruntime', 'cuda:0')

    @pytest.mark.parametrize(('gpus', 'device'), [(0, 'cuda'), (1, 'cuda:1')])
    def test_no_such_gpu(self, machine, gpus, device):
        machine(gpus)
        expected = f"device='{device}': PyTorch finds {gpus} GPUs"
        with pytest.raises(DeployError, match=expected):
            choice.choose('network', 'torch', device)
