"""Runtimes: the same logits, the precision asked for, clear refusals."""

import copy
import functools
import io
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import openvino as ov
import pytest
import torch
from torch import nn

from fastsegformer_mm.deploy.backends import openvino_backend
from fastsegformer_mm.deploy.backends.compile_backend import CompileBackend
from fastsegformer_mm.deploy.backends.conversion import to_onnx, to_openvino
from fastsegformer_mm.deploy.backends.onnxruntime_backend import OnnxRuntimeBackend
from fastsegformer_mm.deploy.backends.openvino_backend import OpenVinoBackend
from fastsegformer_mm.deploy.backends.size_cache import SizeCache
from fastsegformer_mm.deploy.backends.torch_backend import TorchBackend
from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.onnx_tracing import trace_to_onnx

CASES = Path(__file__).with_name('segmentor_cases.py')
cases = SimpleNamespace(**runpy.run_path(str(CASES)))
RUNTIMES = [TorchBackend, OnnxRuntimeBackend, OpenVinoBackend]
KNOWN = ov.Core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES')


class Scale(nn.Module):
    """What a CPU computes in float16 too."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((1, 3, 1, 1), 1.5))

    def forward(self, image):
        return image * self.weight


@pytest.fixture(scope='module')
def network():
    return cases.small_network()


@pytest.fixture(scope='module')
def images():
    rng = np.random.default_rng(0)
    return [np.float32(rng.normal(size=(1, 3, 64, 64))) for _ in range(2)]


def distance(found, expected):
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def logits(network, image):
    with torch.no_grad():
        return network(torch.from_numpy(image)).numpy()


def copied(network):
    """The backend may change the network that it is given."""
    return copy.deepcopy(network)


@pytest.mark.parametrize('runtime', RUNTIMES)
class TestAll:
    def test_same_logits(self, runtime, network, images):
        backend = runtime(network, threads=1)
        for image in (*images, images[0]):
            found = backend(image)
            assert found.dtype == np.float32
            assert distance(found, logits(network, image)) < 1e-5

    def test_any_size(self, runtime, network):
        backend = runtime(network)
        rng = np.random.default_rng(0)
        for height, width in ((64, 64), (32, 96), (64, 64), (40, 72)):
            image = np.float32(rng.normal(size=(1, 3, height, width)))
            assert distance(backend(image), logits(network, image)) < 1e-5

    def test_own_memory_when_called(self, runtime, network, images):
        backend = runtime(network)
        first = backend(images[0])
        kept = first.copy()
        backend(images[1])
        assert np.array_equal(first, kept)

    def test_precisions_are_those_it_takes(self, runtime, network):
        offered = runtime(copied(network)).precisions()
        assert offered[0] == 'fp32'
        for precision in ('fp32', 'bf16', 'fp16'):
            if precision in offered:
                made = runtime(copied(network), precision=precision)
                assert made.precision == precision
            else:
                with pytest.raises(DeployError, match=f"precision='{precision}'"):
                    runtime(copied(network), precision=precision)

    def test_described(self, runtime, network):
        backend = runtime(network)
        assert (backend.device, backend.precision) == ('cpu', 'fp32')
        package = backend.name
        assert backend.versions()[package] == sys.modules[package].__version__


@pytest.mark.parametrize('runtime', [OnnxRuntimeBackend, OpenVinoBackend])
def test_output_memory_is_used_again(runtime, network, images):
    backend = runtime(network)
    for image in images:
        backend.infer(image)
    first = backend.infer(images[0])
    address, kept = first.ctypes.data, first.copy()
    second = backend.infer(images[1])
    assert second.ctypes.data == address
    assert not np.array_equal(second, kept)


class TestOpenVino:
    def test_float32_unless_told_otherwise(self, network, images):
        backend = OpenVinoBackend(network)
        found = backend(images[0])
        hint = backend.compiled.get_property('INFERENCE_PRECISION_HINT')
        assert hint == ov.Type.f32
        assert distance(found, logits(network, images[0])) < 1e-5

    def test_bfloat16_where_the_processor_knows_it(self, network, images):
        if 'BF16' not in KNOWN:
            with pytest.raises(DeployError, match="take precision='fp32'"):
                OpenVinoBackend(network, precision='bf16')
            return
        backend = OpenVinoBackend(network, precision='bf16')
        found = backend(images[0])
        hint = backend.compiled.get_property('INFERENCE_PRECISION_HINT')
        assert hint == ov.Type.bf16
        assert 1e-4 < distance(found, logits(network, images[0])) < 0.05

    def test_a_precision_that_is_not_known(self, monkeypatch, network, images):
        monkeypatch.setitem(openvino_backend.HINTS, 'fp16', ('f16', 'NONE'))
        expected = "precision='fp16': this processor does not compute in it.*FP32"
        with pytest.raises(DeployError, match=expected):
            OpenVinoBackend(network, precision='fp16')
        backend = OpenVinoBackend(network, precision='fp16', strict=False)
        assert backend.precision == 'fp32'
        assert distance(backend(images[0]), logits(network, images[0])) < 1e-5

    @pytest.mark.parametrize(
        ('known', 'hint'), [(['FP32', 'BF16', 'INT8'], 'bf16'), (['FP32'], 'f32')]
    )
    def test_the_rest_of_int8(self, monkeypatch, known, hint):
        backend = object.__new__(OpenVinoBackend)
        backend._core = SimpleNamespace(get_property=lambda *args: known)
        backend.precision = 'int8'
        assert backend._hint(True) == hint
        assert backend.precision == 'int8'

    def test_latency_and_threads(self, network, images):
        backend = OpenVinoBackend(network, threads=1)
        backend(images[0])
        compiled = backend.compiled
        assert str(compiled.get_property('PERFORMANCE_HINT')).endswith('LATENCY')
        assert compiled.get_property('INFERENCE_NUM_THREADS') == 1
        assert backend.threads == 1

    def test_streams(self, network, images):
        backend = OpenVinoBackend(network, threads=2, streams=2)
        expected = [logits(network, image) for image in images]
        found = [backend.infer(images[k], slot=k) for k in range(2)]
        # each in memory of its own
        for one, other in zip(found, expected):
            assert distance(one, other) < 1e-5
        assert backend.compiled.get_property('NUM_STREAMS') == 2
        assert backend.compiled.get_property('INFERENCE_NUM_THREADS') == 2

    def test_int8_needs_images(self, network):
        with pytest.raises(DeployError, match=r'export\.py --precision int8'):
            OpenVinoBackend(network, precision='int8')

    def test_no_gpu(self, network):
        with pytest.raises(DeployError, match=r"device='cuda:0'.*expected 'cpu'"):
            OpenVinoBackend(network, 'cuda:0')

    def test_broken_file(self, tmp_path):
        path = tmp_path / 'my.xml'
        path.write_text('<net>')
        with pytest.raises(DeployError, match=r'my\.xml: OpenVINO cannot read it'):
            OpenVinoBackend(path)


class TestOnnxRuntime:
    def test_threads(self, network):
        def threads(backend):
            session = backend._sessions((1, 3, 64, 64))[0].session
            return session.get_session_options().intra_op_num_threads

        assert threads(OnnxRuntimeBackend(network, threads=1)) == 1
        assert threads(OnnxRuntimeBackend(network)) == 0
        assert threads(OnnxRuntimeBackend(network, threads=6, streams=3)) == 2
        assert threads(OnnxRuntimeBackend(network, threads=2, streams=3)) == 1

    @pytest.mark.parametrize('precision', ['bf16', 'fp16', 'int8'])
    def test_float32_only(self, network, precision):
        expected = f"precision='{precision}' of the backend 'onnx"
        with pytest.raises(DeployError, match=expected):
            OnnxRuntimeBackend(network, precision=precision)

    def test_no_gpu(self, monkeypatch, network):
        monkeypatch.setattr(
            onnxruntime, 'get_available_providers', lambda: ['CPUExecutionProvider']
        )
        with pytest.raises(DeployError, match='Install onnxruntime-gpu'):
            OnnxRuntimeBackend(network, 'cuda:0')

    def test_broken_file(self, tmp_path):
        path = tmp_path / 'my.onnx'
        path.write_bytes(b'nothing')
        with pytest.raises(DeployError, match=r'my\.onnx: ONNX Runtime cannot read it'):
            OnnxRuntimeBackend(path)

    def test_half_precision_inputs(self, tmp_path):
        network = Scale().half()
        path = tmp_path / 'half.onnx'
        trace_to_onnx(network, (torch.zeros(1, 3, 8, 8).half(),), str(path))
        image = np.float32(np.random.default_rng(0).normal(size=(1, 3, 8, 8)))
        backend = OnnxRuntimeBackend(path, precision='fp16')
        with torch.no_grad():
            expected = network.float()(torch.from_numpy(image)).numpy()
        for _ in range(2):
            assert distance(backend(image).astype(np.float32), expected) < 1e-2


class TestTorch:
    def test_float32_is_the_network_itself(self, network, images):
        found = TorchBackend(network)(images[0])
        assert np.array_equal(found, logits(network, images[0]))

    def test_bfloat16(self, network, images):
        backend = TorchBackend(copied(network), precision='bf16')
        found = backend(images[0])
        assert found.dtype == np.float32
        assert 1e-4 < distance(found, logits(network, images[0])) < 0.05

    def test_float32_is_exact_on_a_gpu_too(self, network, images):
        cudnn, seen = torch.backends.cudnn, []
        before = cudnn.enabled, cudnn.benchmark, cudnn.allow_tf32
        backend = TorchBackend(network)
        backend.device = 'cuda:0'

        def spy(image):
            seen.append((cudnn.enabled, cudnn.benchmark, cudnn.allow_tf32))
            return image

        backend._network = spy
        assert np.array_equal(backend(images[0]), images[0])
        assert seen == [(True, True, False)]
        assert (cudnn.enabled, cudnn.benchmark, cudnn.allow_tf32) == before

    @pytest.mark.parametrize('precision', ['fp16', 'int8'])
    def test_refused_on_the_processor(self, network, precision):
        expected = f"precision='{precision}' of the backend 'torch' on cpu; expected"
        with pytest.raises(DeployError, match=expected):
            TorchBackend(network, precision=precision)


class TestCompile:
    def test_compiled_for_the_size(self, monkeypatch, network, images):
        traced = []

        def compiler(module, inputs):
            # parameters come with it
            traced.append((1, 3, 64, 64) in [tuple(x.shape) for x in inputs])
            return module.forward

        compiled = functools.partial(torch.compile, backend=compiler)
        monkeypatch.setattr(torch, 'compile', compiled)
        backend = CompileBackend(copied(network), size=(64, 64))
        assert traced == [True]
        found = backend(images[0])
        assert len(traced) == 1
        assert distance(found, logits(network, images[0])) < 1e-5
        assert backend.name == 'compile'

    def test_without_a_compiler(self, monkeypatch, network):
        def failing(module, **options):
            def call(image):
                raise RuntimeError('no g++ here\nand more')

            return call

        monkeypatch.setattr(torch, 'compile', failing)
        expected = r"backend='compile'.*on cpu \(no g\+\+ here\)"
        with pytest.raises(DeployError, match=expected):
            CompileBackend(network, size=(64, 64))

    @pytest.mark.slow
    def test_by_pytorchs_own_compiler(self, network, images):
        backend = CompileBackend(copied(network), size=(64, 64))
        assert distance(backend(images[0]), logits(network, images[0])) < 1e-5


class TestConversion:
    def test_names_and_shapes(self, network):
        model = onnx.load_from_string(to_onnx(network, (1, 3, 64, 32)))
        assert [node.name for node in model.graph.input] == ['image']
        assert [node.name for node in model.graph.output] == ['logits']
        shape = model.graph.input[0].type.tensor_type.shape
        assert [d.dim_value for d in shape.dim] == [1, 3, 64, 32]

    @pytest.mark.slow
    @pytest.mark.parametrize('runtime', [OnnxRuntimeBackend, OpenVinoBackend])
    def test_pooling_into_bins_that_do_not_divide(self, images, runtime):
        network = nn.Sequential(nn.AdaptiveAvgPool2d(6), nn.Conv2d(3, 2, 1))
        expected = logits(network, images[0])
        assert distance(runtime(network)(images[0]), expected) < 1e-5

    def test_what_tracing_refuses(self, monkeypatch):
        """Pooling into bins that do not divide the size."""
        network = nn.Sequential(nn.AdaptiveAvgPool2d((2, 3)))
        image = np.float32(np.random.default_rng(0).normal(size=(1, 3, 7, 8)))
        with pytest.raises(RuntimeError, match='adaptive'):
            trace_to_onnx(network, (torch.from_numpy(image),), io.BytesIO())
        session = onnxruntime.InferenceSession(
            to_onnx(network, image.shape), providers=['CPUExecutionProvider']
        )
        found = session.run(None, {'image': image})[0]
        assert distance(found, network(torch.from_numpy(image)).numpy()) < 1e-6
        monkeypatch.setattr(ov, 'convert_model', lambda net, **options: (net, options))
        converted, options = to_openvino(network, image.shape)
        assert converted is network
        assert options['input'] == [1, 3, 7, 8]

    def test_what_onnx_has_not(self, monkeypatch, network):
        def failing(*args, **options):
            raise torch.onnx.errors.OnnxExporterError('no such operator\nand more')

        monkeypatch.setattr(torch.onnx, 'export', failing)
        expected = 'cannot be converted to ONNX: no such operator$'
        with pytest.raises(DeployError, match=expected):
            to_onnx(network, (1, 3, 8, 8))


@pytest.mark.parametrize(
    ('package', 'runtime'),
    [('openvino', OpenVinoBackend), ('onnxruntime', OnnxRuntimeBackend)],
)
def test_missing_package(monkeypatch, network, package, runtime):
    monkeypatch.setitem(sys.modules, package, None)
    expected = rf"backend='{package}' needs.*pip install .*\[deploy\]"
    with pytest.raises(DeployError, match=expected):
        runtime(network)


def test_conversion_without_onnx(monkeypatch, network):
    def failing(*args, **options):
        raise ModuleNotFoundError("No module named 'onnx'")

    monkeypatch.setattr(torch.onnx, 'export', failing)
    with pytest.raises(DeployError, match=r'needs the package onnx.*\[deploy\]'):
        to_onnx(network, (1, 3, 64, 64))


def test_size_cache():
    made = []
    cache = SizeCache(lambda shape: made.append(shape) or [shape], limit=2)
    first = cache((1,))
    assert cache((1,)) is first
    cache((2,))
    cache((1,))
    cache((3,))  # (2,) was not used for longest
    assert cache((1,)) is first
    cache((2,))
    assert made == [(1,), (2,), (3,), (2,)]


def test_signal_after_two_closed_runtimes():
    # OpenVINO's own Core leaves a freed signal stack behind when two are closed
    code = """
import signal, torch
from torch import nn
from fastsegformer_mm.deploy.backends.openvino_backend import OpenVinoBackend
first, second = (OpenVinoBackend(nn.Conv2d(3, 2, 1).eval(), threads=1) for _ in 'ab')
for backend in (first, second):
    backend(torch.zeros(1, 3, 8, 8).numpy())
first.close()
del first
second.close()
del second, backend
signal.signal(signal.SIGUSR1, lambda *_: print('alive'))
signal.raise_signal(signal.SIGUSR1)
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()[-1:]) == (0, ['alive']), done.stderr
