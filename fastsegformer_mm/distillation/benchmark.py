"""Time and memory of a distillation's training step, in several variants.

Every variant runs in a process of its own, so that peaks of memory do not mix;
the steps are taken in turns, so that a machine that slows down slows all.
"""

import contextlib
import multiprocessing
import platform
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmrazor.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import register_all_modules

from fastsegformer_mm.utils.peak_memory import read_peak, reset_peak

from .image_size import image_size
from .losses import (
    nfd_loss,
    pkl_loss,
    resize_teacher_loss,
    standardized_kl_loss,
)

__all__ = ['Result', 'image_size', 'machine', 'run']
# what each variant changes in the model's config; `naive` and `compiled` more
VARIANTS = {
    'naive': {},
    'as configured': {},
    'channels_last': {'teacher_channels_last': True},
    'fused': {'fuse_teacher': True},
    'fused, channels_last': {'fuse_teacher': True, 'teacher_channels_last': True},
    'fused, bfloat16': {'fuse_teacher': True, 'teacher_precision': 'bfloat16'},
    'fused, float16': {'fuse_teacher': True, 'teacher_precision': 'float16'},
    'fused, channels_last, bfloat16': {
        'fuse_teacher': True,
        'teacher_channels_last': True,
        'teacher_precision': 'bfloat16',
    },
    'fused, compiled teacher': {'fuse_teacher': True, 'compile_teacher': True},
    'compiled student': {'fuse_teacher': True, 'compile_student': True},
    'compiled both': {
        'fuse_teacher': True,
        'compile_teacher': True,
        'compile_student': True,
    },
}


@dataclass
class Result:
    """What was measured of one variant.

    Attributes:
        name (str): The variant.
        seconds (list[float]): Of each timed step.
        peak_bytes (int): Of memory, in all steps: of the process on a CPU, of
            PyTorch's tensors on a GPU.
        losses (dict[str, float]): Of the first step.
    """

    name: str
    seconds: list = field(default_factory=list)
    peak_bytes: int = 0
    losses: dict = field(default_factory=dict)

    @property
    def median(self) -> float:
        """Seconds a step."""
        return statistics.median(self.seconds)

    def loss_difference(self, other) -> float:
        """Largest relative difference to the losses of another variant."""
        return max(
            abs(self.losses[k] - v) / max(abs(v), 1e-12)
            for k, v in other.losses.items()
            if 'loss' in k
        )


def run(
    cfg: Config,
    variants,
    batch_size: int,
    size: tuple[int, int],
    rounds: int,
    warmup: int,
    device: str,
    threads: int,
    progress=lambda name, index: None,
) -> list[Result]:
    """Measure the training step of a distillation.

    Args:
        cfg (Config): Of a MultiResolutionDistill.
        variants (Sequence[str]): Names in :data:`VARIANTS`.
        batch_size (int): Images a step, of noise.
        size (tuple[int, int]): Theirs, (height, width) in pixels.
        rounds (int): Timed steps of each variant.
        warmup (int): Steps before.
        device (str): 'cpu' or 'cuda'.
        threads (int): Of PyTorch, on the CPU.
        progress (Callable): Told the name and the round before each step.

    Returns:
        list[Result]: In the order of ``variants``.

    Raises:
        RuntimeError: A variant does not run; the message has its error.
    """
    context = multiprocessing.get_context('spawn')
    results = [Result(name) for name in variants]
    with contextlib.ExitStack() as stack:
        pipes = []
        for name in variants:
            ours, theirs = context.Pipe()
            arguments = (theirs, cfg, name, batch_size, size, device, threads)
            process = context.Process(target=_serve, args=arguments, daemon=True)
            process.start()
            theirs.close()
            stack.callback(process.join, 10)
            stack.callback(ours.close)
            pipes.append(ours)
            # one after the other: compiling is parallel in itself
            _ask(ours, name, 'ready')
        for index in range(warmup + rounds):
            # rotated: no variant always comes after the same one
            for k in range(len(pipes)):
                i = (index + k) % len(pipes)
                progress(variants[i], index)
                seconds, losses = _ask(pipes[i], variants[i], 'step')
                if index == 0:
                    results[i].losses = losses
                if index >= warmup:
                    results[i].seconds.append(seconds)
        for result, pipe in zip(results, pipes):
            result.peak_bytes = _ask(pipe, result.name, 'peak')
    return results


def _ask(pipe, name, question):
    try:
        pipe.send(question)
        kind, answer = pipe.recv()
    except (EOFError, BrokenPipeError) as error:
        raise RuntimeError(
            f'variant {name!r}: its process ended without an answer; most often the '
            'machine ran out of memory. Take fewer variants or a smaller batch'
        ) from error
    if kind == 'error':
        raise RuntimeError(f'variant {name!r} does not run: {answer}')
    return answer


def _serve(pipe, cfg, variant, batch_size, size, device, threads):
    """One variant's process: answers 'ready', 'step' and 'peak'."""
    asked = False
    try:
        torch.set_num_threads(threads)
        step = Step(cfg, variant, batch_size, size, device)
        answers = {'ready': lambda: None, 'step': step, 'peak': step.peak_bytes}
        while True:
            question = pipe.recv()
            asked = True
            pipe.send(('answer', answers[question]()))
            asked = False
    except EOFError:
        return
    except Exception as error:  # whatever it is, the parent says it
        with contextlib.suppress(OSError):
            if not asked:
                pipe.recv()
            pipe.send(('error', f'{type(error).__name__}: {error}'))


class Step:
    """A training step on a fixed batch of noise.

    Args: as :func:`run`.

    Returns:
        tuple[float, dict[str, float]]: When called: seconds, and the losses.
    """

    def __init__(self, cfg, variant, batch_size, size, device):
        MMLogger.get_instance('benchmark_distill', log_level='ERROR')
        register_all_modules(init_default_scope=False)
        init_default_scope('mmseg')
        self.device = torch.device(device)
        torch.manual_seed(0)
        model = ConfigDict(cfg.model)
        if not model.get('teacher_ckpt'):
            model.allow_random_teacher = True
        model.update(VARIANTS[variant])
        self.model = MODELS.build(model)
        if not model.get('teacher_ckpt'):
            like_trained(self.model.teacher.network)
        self.model.init_weights()
        self.model.to(self.device).train()
        if variant == 'naive':
            with_teacher_gradients(self.model)
        self.optim_wrapper = build_optim_wrapper(self.model, cfg.optim_wrapper)
        self.batch = noise(batch_size, size, self.model.student.num_classes)
        self._peak = 0

    def __call__(self):
        reset_peak(self.device)
        self._synchronise()
        start = time.perf_counter()
        logs = self.model.train_step(self.batch, self.optim_wrapper)
        self._synchronise()
        seconds = time.perf_counter() - start
        self._peak = max(self._peak, read_peak(self.device))
        return seconds, {k: float(v) for k, v in logs.items()}

    def peak_bytes(self):
        return self._peak

    def _synchronise(self):
        if self.device.type == 'cuda':
            torch.cuda.synchronize()


def noise(batch_size, size, num_classes) -> dict:
    """A batch as a dataloader gives it: uint8 images and labels, random."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(
        0, 256, (batch_size, 3, *size), dtype=torch.uint8, generator=generator
    )
    labels = torch.randint(0, num_classes, (batch_size, 1, *size), generator=generator)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    return {'inputs': list(images), 'data_samples': samples}


def like_trained(network) -> None:
    """Give BatchNorms statistics, without which folding them changes nothing."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            shape = module.running_mean.shape
            module.running_mean.copy_(torch.randn(shape, generator=generator) * 0.1)
            module.running_var.copy_(torch.rand(shape, generator=generator) + 0.5)


def with_teacher_gradients(model) -> None:
    """Turn a MultiResolutionDistill into the loop of the official training code.

    It runs the teacher with gradients and never detaches its maps, so that the
    backward pass goes through the teacher too.
    """

    @contextlib.contextmanager
    def full_precision(student, teacher):
        with torch.autocast(student.device.type, enabled=False):
            yield student.float(), teacher.float()

    for module in (nfd_loss, pkl_loss, resize_teacher_loss, standardized_kl_loss):
        module.full_precision = full_precision
    teacher = model.teacher
    teacher.network.requires_grad_(True)
    forward = teacher.network.forward

    def with_gradients(*args, **kwargs):
        with torch.enable_grad():
            return forward(*args, **kwargs)

    teacher.network.forward = with_gradients


def machine(device: str, threads: int) -> dict:
    """What the figures are of: processor, threads, versions."""
    import mmcv
    import mmengine
    import mmseg

    if device == 'cuda':
        name = torch.cuda.get_device_name()
    else:
        name = platform.processor()
        with contextlib.suppress(OSError, IndexError):
            info = Path('/proc/cpuinfo').read_text('utf-8')
            name = info.split('model name')[1].split('\n')[0].strip('\t: ')
    return {
        'device': name,
        'threads': threads,
        'cpu_capability': torch.backends.cpu.get_cpu_capability(),
        'torch': torch.__version__,
        'mmengine': mmengine.__version__,
        'mmcv': mmcv.__version__,
        'mmseg': mmseg.__version__,
    }
