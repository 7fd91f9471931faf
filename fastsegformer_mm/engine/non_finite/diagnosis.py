"""What is wrong with an iteration whose loss is NaN or infinite."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from mmengine.structures import BaseDataElement, PixelData
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

# names in a message; the file has all
SHOWN = 3


class NonFiniteLossError(RuntimeError):
    """A loss is NaN or infinite, and training was stopped before it did harm."""


@dataclass
class Findings:
    """What one process found in an iteration.

    Attributes:
        rank (int): Of the process.
        losses (dict[str, float]): All terms of the loss and their sum.
        files (list[str]): Image and label of each sample of the batch.
        inputs (str): Range of the values that the network was given.
        bad_inputs (list[str]): Files among them whose values are not all finite.
        labels (str): Range of the label values.
        bad_weights (list[str]): Parameters and buffers that are not finite.
        reduced_precision (str, optional): Name of autocast's dtype.
        saved (str): The file that reproduces it, or why there is none.
    """

    rank: int
    losses: dict
    files: list = field(default_factory=list)
    inputs: str = ''
    bad_inputs: list = field(default_factory=list)
    labels: str = ''
    bad_weights: list = field(default_factory=list)
    reduced_precision: str | None = None
    saved: str = ''

    @property
    def bad_losses(self) -> list[str]:
        """Terms that are not finite; their sum only if it alone is not."""
        bad = bad_terms(self.losses)
        return [name for name in bad if name != 'loss'] or bad


def bad_terms(losses: dict) -> list[str]:
    """Names of those that count as losses and are NaN or infinite."""
    return [k for k, v in losses.items() if 'loss' in k and not math.isfinite(v)]


def networks(model: nn.Module) -> dict[str, nn.Module]:
    """The model by the prefix '', and a teacher that is no submodule of it."""
    found = {'': model}
    teacher = getattr(getattr(model, 'teacher', None), 'network', None)
    if isinstance(teacher, nn.Module) and not isinstance(model.teacher, nn.Module):
        found['teacher.'] = teacher
    return found


def bad_weights(model: nn.Module) -> list[str]:
    """Name each parameter and buffer that is not finite, with how much of it."""
    found = []
    for prefix, network in networks(model).items():
        tensors = itertools.chain(network.named_parameters(), network.named_buffers())
        for name, tensor in tensors:
            count = count_bad(tensor)
            if count:
                found.append(f'{prefix}{name} ({count} of {tensor.numel()} values)')
    return found


def count_bad(tensor: Tensor) -> int:
    """How many values are NaN or infinite."""
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return 0
    return int(tensor.numel() - torch.isfinite(tensor.detach()).sum())


def value_range(tensor: Tensor) -> str:
    """'0 to 3, 2 NaN, 1 infinite': of the finite values, and what else there is."""
    values = tensor.detach()
    finite = values[torch.isfinite(values)]
    if values.dtype == torch.bool or not values.numel():
        return 'no values' if not values.numel() else 'true or false'
    parts = ['no finite value']
    if finite.numel():
        parts = [f'{finite.min().item():.4g} to {finite.max().item():.4g}']
    nan = int(torch.isnan(values).sum())
    infinite = values.numel() - finite.numel() - nan
    parts += [f'{nan} NaN'] * bool(nan) + [f'{infinite} infinite'] * bool(infinite)
    return ', '.join(parts)


def samples_of(batch) -> list:
    """The data elements (or dicts) of a batch that say which files it is from."""
    if isinstance(batch, BaseDataElement):
        return [batch]
    if isinstance(batch, dict):
        if 'img_path' in batch:
            return [batch]
        batch = list(batch.values())
    if isinstance(batch, list | tuple):
        return [sample for item in batch for sample in samples_of(item)]
    return []


def file_of(sample) -> str:
    """'a.jpg (label a.png)', as far as a sample knows."""
    image, label = sample.get('img_path'), sample.get('seg_map_path')
    name = str(image) if image else 'a sample without img_path'
    return f'{name} (label {label})' if label else name


def images_of(batch) -> list[Tensor]:
    """The tensors that go into the network, one an image where it can be told."""
    inputs = batch.get('inputs', batch) if isinstance(batch, dict) else batch
    if isinstance(batch, tuple | list) and batch:
        inputs = batch[0]
    if isinstance(inputs, Tensor):
        return list(inputs) if inputs.dim() else [inputs]
    return [x for x in tree_flatten(inputs)[0] if isinstance(x, Tensor)]


def examine(model: nn.Module, batch, losses: dict, rank: int) -> Findings:
    """Look for the cause: in the batch, in the weights.

    Args:
        model (nn.Module): With the weights and buffers as before the iteration.
        batch: What the data preprocessor has given to the network.
        losses (dict[str, float]): As logged.
        rank (int): Of this process.
    """
    samples, images = samples_of(batch), images_of(batch)
    files = [file_of(sample) for sample in samples]
    found = Findings(rank, losses, files, bad_weights=bad_weights(model))
    if images:
        flat = torch.cat([x.detach().float().reshape(-1) for x in images])
        found.inputs = value_range(flat)
    for index, image in enumerate(images):
        if count_bad(image):
            known = len(files) == len(images)
            name = files[index] if known else f'image {index} of the batch'
            found.bad_inputs.append(f'{name}: {value_range(image)}')
    labels = [s.get('gt_sem_seg') for s in samples]
    labels = [x.data.reshape(-1) for x in labels if isinstance(x, PixelData)]
    if labels:
        found.labels = value_range(torch.cat(labels))
    return found


def explain(findings: list[Findings]) -> tuple[str, str]:
    """The cause, as far as it can be told, and the way out."""
    weights = [w for f in findings for w in f.bad_weights]
    inputs = [i for f in findings for i in f.bad_inputs]
    if weights:
        return (
            f'the weights were broken before this iteration: {shorten(weights)}',
            'go on from a checkpoint that is sound. Training itself broke them when '
            'the loss was finite and its gradient was not: lower the learning rate, '
            'or limit gradients by optim_wrapper.clip_grad=dict(max_norm=1.0)',
        )
    if inputs:
        return (
            f'the images have such values already: {shorten(inputs)}',
            'look at these files (tools/analysis_tools/check_dataset.py CONFIG) and '
            "at the transforms and data_preprocessor's std, which must not be 0",
        )
    low = next((f.reduced_precision for f in findings if f.reduced_precision), None)
    way_out = (
        'lower the learning rate, lengthen its warm-up, or limit gradients by '
        'optim_wrapper.clip_grad=dict(max_norm=1.0); the replay below names the '
        'module where it began'
    )
    if low == 'float16':
        way_out = "set optim_wrapper.dtype='bfloat16' (larger range), or " + way_out
    precision = f' in {low}' if low else ''
    return (
        f'images and weights are finite, so it is the computation{precision}: a '
        'value too large, a logarithm or root of nothing, a division by zero',
        way_out,
    )


def shorten(names: list[str]) -> str:
    """The first few."""
    more = len(names) - SHOWN
    return ', '.join(names[:SHOWN]) + (f' and {more} more' if more > 0 else '')


def bad_values(findings: list[Findings]) -> str:
    """'decode.loss_ce=nan (rank 1)'."""
    several = len(findings) > 1
    return ', '.join(
        f'{name}={f.losses[name]}' + (f' (rank {f.rank})' if several else '')
        for f in findings
        for name in f.bad_losses
    )


def describe(findings: list[Findings], rates: dict, checkpoint: str) -> str:
    """Lines for the error.

    Args:
        findings (list[Findings]): Of all processes; told are those whose loss is not
            finite.
        rates (dict[str, list[float]]): The learning rates.
        checkpoint (str): The last one that was written.
    """
    lines = []
    for f in _bad(findings):
        where = f' on rank {f.rank}' if len(findings) > 1 else ''
        losses = ', '.join(f'{k}={v:.6g}' for k, v in f.losses.items())
        lines += [f'  losses{where}: {losses}', f'  images: {f.inputs or "unknown"}']
        lines += [f'  labels: {f.labels}'] if f.labels else []
        lines += ['  files: ' + (', '.join(f.files) or 'the batch does not say')]
        lines.append(f'  saved: {f.saved}')
        if f.saved.endswith('.pth'):
            tool = 'tools/analysis_tools/replay_non_finite.py'
            lines.append(f'  replay: python {tool} CONFIG {f.saved}')
    cause, way_out = explain(findings)
    rates = ', '.join(f'{name}={values[0]:.4g}' for name, values in rates.items())
    lines += [f'  learning rate: {rates}', f'  last checkpoint: {checkpoint}']
    return '\n'.join([*lines, f'  cause: {cause}', f'  way out: {way_out}'])


def summarise(findings: list[Findings]) -> str:
    """The same in one line, for a warning."""
    files = [name for f in _bad(findings) for name in f.files]
    saved = [f.saved for f in _bad(findings) if f.saved]
    return (
        f'{bad_values(findings)}; {explain(findings)[0]}; '
        f'files: {", ".join(files) or "the batch does not say"}'
        + (f'; saved: {", ".join(saved)}' if saved else '')
    )


def _bad(findings) -> Iterator[Findings]:
    return (f for f in findings if f.bad_losses)
