"""Which runtime runs what, and where."""

import importlib.util
import os

import torch

from ..errors import DeployError
from ..threads import usable_cores
from .artefact import SUFFIXES

BACKENDS = ('torch', 'compile', 'onnxruntime', 'openvino')
PRECISIONS = ('fp32', 'bf16', 'fp16', 'int8')
# what each can run; the first that is installed is taken
RUNS = {
    '.xml': ('openvino',),
    '.onnx': ('onnxruntime', 'openvino'),
    'network': ('openvino', 'onnxruntime', 'compile', 'torch'),
}
# on the CPU these compute beside Python, and several frames side by side
WITH_STREAMS = ('onnxruntime', 'openvino')
# more of them share the memory's bandwidth, and Python's lock
MOST_STREAMS = 4
PACKAGES = {'openvino': ('openvino', 'onnx'), 'onnxruntime': ('onnxruntime', 'onnx')}


def check_options(backend, device, threads, precision) -> None:
    """Raise a DeployError for a value that no runtime has."""
    for name, value, known in (
        ('backend', backend, BACKENDS),
        ('precision', precision, PRECISIONS),
    ):
        if value not in ('auto', *known):
            raise DeployError(
                f'{name}={value!r}; expected one of {", ".join(("auto", *known))}'
            )
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise DeployError(
            f'threads={threads!r}; expected a number of at least 1, or None for all'
        )
    kind, _, index = device.partition(':')
    if device not in ('auto', 'cpu') and (
        kind != 'cuda' or not (index.isdigit() or device == 'cuda')
    ):
        raise DeployError(
            f"device={device!r}; expected 'auto', 'cpu', 'cuda' or 'cuda:N'"
        )


def kind_of(model, checkpoint, cfg_options) -> str:
    """What a model is: '.onnx', '.xml' or 'network'.

    Args:
        model (str | Path | tuple): See :class:`~..segmentor.DefectSegmentor`.
        checkpoint (str | Path, optional): As there.
        cfg_options (dict, optional): As there.

    Raises:
        DeployError: It is none of them, or has these though it has its weights.
    """
    if isinstance(model, tuple):
        kind = 'network'
    elif not isinstance(model, (str, os.PathLike)):
        raise DeployError(
            f'model is {type(model).__name__}; expected a path, or (network, card) as '
            'load_network gives them'
        )
    else:
        suffix = os.path.splitext(os.fspath(model))[1].lower()
        if suffix == '.py':
            return 'network'
        kind = suffix
    if kind not in ('network', *SUFFIXES):
        hint = ''
        if kind in ('.pth', '.pt', '.ckpt'):
            hint = '. A checkpoint goes with its config: model=CONFIG, checkpoint=FILE'
        raise DeployError(
            f'{model}: expected an exported model (.onnx or .xml) or a config (.py)'
            + hint
        )
    for name, value in (('checkpoint', checkpoint), ('cfg_options', cfg_options)):
        if value is not None:
            raise DeployError(
                f'{name}={value!r} goes with a config; this model has its weights'
            )
    return kind


def choose(kind: str, backend: str, device: str) -> tuple[str, str]:
    """Backend and device for what is to be run.

    Args:
        kind (str): '.xml', '.onnx' or 'network'.
        backend (str): One of ``BACKENDS`` or 'auto': of a network PyTorch where a GPU
            is, else the first that is installed of OpenVINO and ONNX Runtime, else
            PyTorch; of an .onnx ONNX Runtime, else OpenVINO; of an .xml OpenVINO.
        device (str): 'auto' (a GPU if there is one that the backend can use), 'cpu',
            'cuda' or 'cuda:N'.

    Returns:
        tuple[str, str]: One of ``BACKENDS``, and 'cpu' or 'cuda:N'.

    Raises:
        DeployError: The backend does not run that, or the device is not there.
    """
    if backend not in ('auto', *RUNS[kind]):
        raise DeployError(
            f'backend={backend!r} cannot run an {kind} file; expected '
            f'{" or ".join(RUNS[kind])}. PyTorch takes the config and its checkpoint'
        )
    gpu = device.startswith('cuda')
    if gpu and not _has_gpu(device):
        raise DeployError(
            f'device={device!r}: PyTorch finds {torch.cuda.device_count()} GPUs it can '
            "use; expected one of that number. Take device='cpu', or install a PyTorch "
            'for CUDA and the driver'
        )
    if backend == 'auto':
        wants_gpu = gpu or (device == 'auto' and _has_gpu('cuda'))
        if kind == 'network' and wants_gpu:
            backend = 'torch'
        else:
            found = [name for name in RUNS[kind] if _installed(name)]
            backend = next((name for name in found if name != 'compile'), RUNS[kind][0])
    if device == 'auto':
        device = 'cuda' if _uses_gpu(backend) and _has_gpu('cuda') else 'cpu'
    return backend, 'cuda:0' if device == 'cuda' else device


def choose_streams(
    streams: int | str, backend: str, device: str, threads: int | None
) -> int:
    """How many frames are segmented side by side.

    Args:
        streams (int | str): So many, or 'auto': one a thread, ``MOST_STREAMS`` at
            most, where the runtime can, else 1.
        backend (str): One of ``BACKENDS``.
        device (str): 'cpu' or 'cuda:N'.
        threads (int, optional): CPU threads of the runtime, None for all.

    Raises:
        DeployError: It is no such number, the runtime has one only, or there are
            fewer threads.
    """
    threads = threads or usable_cores()
    able = _works_beside(backend, device)
    if streams == 'auto':
        return min(threads, MOST_STREAMS) if able else 1
    if not isinstance(streams, int) or streams < 1:
        raise DeployError(
            f"streams={streams!r}; expected a number of at least 1, or 'auto'"
        )
    if streams > 1 and not able:
        raise DeployError(
            f'streams={streams} of the backend {backend!r} on {device}; expected 1. '
            f'{" and ".join(WITH_STREAMS)} have more, on the CPU'
        )
    if streams > threads:
        raise DeployError(
            f'streams={streams} with threads={threads}; expected at most one a thread'
        )
    return streams


def choose_overlap(
    overlap: bool | str, backend: str, device: str, threads: int | None, streams: int
) -> bool:
    """Whether frames are prepared, and masks made, while the network runs.

    Args:
        overlap (bool | str): So, or 'auto': where it gains, which is with OpenVINO, and
            with ONNX Runtime if a stream has one thread. Of more these spin while they
            wait for each other, and nothing else gets their core.
        backend (str): One of ``BACKENDS``.
        device (str): 'cpu' or 'cuda:N'.
        threads (int, optional): CPU threads of the runtime, None for all.
        streams (int): As :func:`choose_streams` gave them.

    Raises:
        DeployError: It is neither, or the runtime cannot.
    """
    able = _works_beside(backend, device)
    if overlap == 'auto':
        spins = backend == 'onnxruntime' and (threads or usable_cores()) > streams
        return able and not spins
    if not isinstance(overlap, bool):
        raise DeployError(f"overlap={overlap!r}; expected True, False or 'auto'")
    if overlap and not able:
        raise DeployError(
            f'overlap=True of the backend {backend!r} on {device}; expected False. '
            f'{" and ".join(WITH_STREAMS)} can, on the CPU'
        )
    return overlap


def _works_beside(backend, device):
    return backend in WITH_STREAMS and device == 'cpu'


def _installed(backend):
    return all(importlib.util.find_spec(p) for p in PACKAGES.get(backend, ()))


def _has_gpu(device):
    index = int(device.partition(':')[2] or 0)
    return torch.cuda.is_available() and index < torch.cuda.device_count()


def _uses_gpu(backend):
    if backend == 'onnxruntime' and _installed(backend):
        import onnxruntime

        return 'CUDAExecutionProvider' in onnxruntime.get_available_providers()
    return backend in ('torch', 'compile')
