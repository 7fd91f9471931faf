"""The teacher: a network that is only looked at."""

import contextlib
import glob
import time
from pathlib import Path

import torch
from mmcv.cnn import fuse_conv_bn
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmseg.models import SegDataPreProcessor
from mmseg.models.utils import resize
from torch import Tensor
from torch.utils._pytree import tree_flatten

from fastsegformer_mm.distillation.errors import DistillationError
from fastsegformer_mm.engine.checkpoint import read_checkpoint
from fastsegformer_mm.engine.checkpoint.fit import load_all_or_raise
from fastsegformer_mm.engine.checkpoint.student import STUDENT, student_weights

from .preprocessor_conversion import conversion

# Deep supervision: only the loss uses these heads, and no teacher computes one.
AUXILIARY = 'auxiliary_head.'


class FrozenTeacher:
    """A segmentor in eval mode, of which only the forward pass is run.

    Not an ``nn.Module``, on purpose: the algorithm that holds it has none of its
    weights among its parameters, its state dict or its DDP buckets.

    Args:
        network (BaseModel): The teacher, an MMSegmentation segmentor.
        student_preprocessor (SegDataPreProcessor): What has prepared the batch
            that is given in :meth:`seeing`.
        precision (str, optional): 'float32', 'float16' or 'bfloat16': the
            teacher's own autocast. None takes that of the training. Defaults to
            None.
        channels_last (bool): Whether its weights and inputs are in that memory
            format. Defaults to False.

    Raises:
        DistillationError: An unknown precision, or preprocessors that cannot be
            converted into each other.
    """

    PRECISIONS = {
        'float32': torch.float32,
        'float16': torch.float16,
        'bfloat16': torch.bfloat16,
    }

    def __init__(
        self,
        network: BaseModel,
        student_preprocessor: SegDataPreProcessor,
        precision: str | None = None,
        channels_last: bool = False,
    ):
        if precision is not None and precision not in self.PRECISIONS:
            raise DistillationError(
                f'teacher_precision={precision!r}: expected None (as the training) '
                f'or one of {", ".join(self.PRECISIONS)}'
            )
        self.network = network.eval().requires_grad_(False)
        self.channels_last = channels_last
        if channels_last:
            network.to(memory_format=torch.channels_last)
        self.precision = precision
        self._convert = conversion(student_preprocessor, network.data_preprocessor)
        self._batch = None
        self.loaded_from = None
        self.classes = None

    def __deepcopy__(self, memo):
        # an averaged copy of the student (EMA) needs no second teacher
        return self

    @contextlib.contextmanager
    def seeing(self, inputs: Tensor, data_samples=None):
        """Within the context, calls see this batch, whatever they are given."""
        self._batch = inputs, data_samples
        try:
            yield
        finally:
            self._batch = None

    @torch.no_grad()
    def __call__(self, inputs: Tensor, data_samples=None, mode: str = 'loss'):
        """Forward pass alone: what MMRazor calls to fill the recorders.

        ``no_grad`` and not ``inference_mode``: the losses save the teacher's
        maps for their backward pass, which tensors of the latter do not allow.

        Args:
            inputs (Tensor): (N, 3, H, W); the batch of :meth:`seeing` is taken
                instead, where there is one.
            data_samples (list, optional): Tells where a batch is padded.
            mode (str): Ignored; no loss is computed.

        Returns:
            Tensor: The logits.
        """
        if self._batch is not None:
            inputs, data_samples = self._batch
        inputs = self._convert(inputs, data_samples)
        if self.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        with self._autocast(inputs.device.type):
            return self.network(inputs, mode='tensor')

    def predict(self, inputs: Tensor, data_samples=None) -> Tensor:
        """The class of each pixel: (N, 3, H, W) -> (N, H, W), int64."""
        logits = resize(
            self(inputs, data_samples),
            inputs.shape[2:],
            mode='bilinear',
            align_corners=self.network.align_corners,
            warning=False,
        )
        if logits.shape[1] > 1:
            return logits.argmax(1)
        return (logits[:, 0].sigmoid() > self.network.decode_head.threshold).long()

    def _autocast(self, device_type):
        if self.precision is None:
            return contextlib.nullcontext()
        dtype = self.PRECISIONS[self.precision]
        if dtype == torch.float32:
            return torch.autocast(device_type, enabled=False)
        return torch.autocast(device_type, dtype)

    def load(self, path: str) -> None:
        """Load every weight, or say what does not fit.

        Args:
            path (str): A file, a URL, or a pattern (``best_mIoU_*.pth``) that one
                file matches.

        Raises:
            DistillationError: There is no such file, several match, it is not a
                checkpoint, or it is that of another network.
        """
        path = find_one(path)
        start = time.perf_counter()
        try:
            checkpoint = read_checkpoint(path)
            weights = _state_dict(checkpoint, path)
            # a teacher that was itself distilled
            if any(k.startswith(STUDENT) for k in weights):
                weights = student_weights(weights)
            own = self.network.state_dict()
            weights = {
                k: v
                for k, v in weights.items()
                if k in own or not k.startswith(AUXILIARY)
            }
            load_all_or_raise(
                self.network,
                weights,
                path,
                optional={k for k in own if k.startswith(AUXILIARY)},
            )
        except (ValueError, OSError) as error:
            raise DistillationError(f'the teacher was not loaded: {error}') from error
        self.loaded_from = path
        meta = checkpoint.get('meta') or {}
        self.classes = (meta.get('dataset_meta') or {}).get('classes')
        print_log(
            f'Teacher: {sum(p.numel() for p in self.network.parameters()):,} '
            f'parameters loaded from {path} in {time.perf_counter() - start:.1f} s',
            'current',
        )

    def fuse(self, recorders) -> None:
        """Fold each BatchNorm into the convolution before it.

        Args:
            recorders (RecorderManager): Whose records must not change by it.

        Raises:
            DistillationError: A record would change, as one does that is taken
                between a convolution and its BatchNorm.
        """
        image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        image = image.to(next(self.network.parameters()))
        before = self._records(recorders, image)
        # the layers put in for the BatchNorms are new ones
        fuse_conv_bn(self.network).eval().requires_grad_(False)
        after = self._records(recorders, image)
        for name, expected in before.items():
            if len(expected) != len(after[name]) or any(
                (a - b).abs().max() > 1e-3 * b.abs().max()
                for a, b in zip(after[name], expected)
            ):
                raise DistillationError(
                    f'fuse_teacher=True changes what teacher_recorders.{name} '
                    f'records ({recorders.get_recorder(name).source!r}): record '
                    'the layer after the BatchNorm, or leave fuse_teacher out'
                )

    def _records(self, recorders, image):
        """All tensors that each recorder sees for one image."""
        with recorders, torch.no_grad():
            self.network(image, mode='tensor')
        return {
            name: [x for x in tree_flatten(r.data_buffer)[0] if isinstance(x, Tensor)]
            for name, r in recorders.recorders.items()
        }


def _state_dict(checkpoint, path):
    weights = checkpoint
    if isinstance(checkpoint, dict):
        weights = checkpoint.get('state_dict', checkpoint)
    if not isinstance(weights, dict) or not all(isinstance(k, str) for k in weights):
        raise ValueError(
            f'checkpoint {path!r} holds a {type(weights).__name__}; expected tensors '
            "under the names of the network's weights, bare or in 'state_dict'"
        )
    return weights


def find_one(pattern: str) -> str:
    """The one file that ``pattern`` names; a URL is returned as it is.

    Raises:
        DistillationError: No file matches, or several.
    """
    # a folder like `lr[0.1]` has the characters of a pattern in its name
    if '://' in pattern or not glob.has_magic(pattern) or Path(pattern).is_file():
        return pattern
    found = sorted(glob.glob(pattern))
    if len(found) == 1:
        return found[0]
    raise DistillationError(
        f'teacher_ckpt={pattern!r} matches '
        + (f'{len(found)} files ({", ".join(found[:5])})' if found else 'no file')
        + '; expected one. Train the teacher first, or name its checkpoint: '
        '--cfg-options model.teacher_ckpt=FILE'
    )
