"""The pairs of a distiller: where they come from, and why one does not fit."""

import difflib

import torch
from mmengine.utils import import_modules_from_strings
from prettytable import PrettyTable
from torch import Tensor, nn

from fastsegformer_mm.distillation.errors import DistillationError

# MMRazor's losses whose classes are the channels
WITH_SOFTMAX = ('KLDivergence', 'DISTLoss', 'DKDLoss', 'WSLD')


def check_sources(distiller: dict, student: nn.Module, teacher: nn.Module) -> None:
    """Look every recorder's source up in the network that it records.

    Args:
        distiller (dict): Config of the distiller.
        student (nn.Module): What ``student_recorders`` are about.
        teacher (nn.Module): What ``teacher_recorders`` are about.

    Raises:
        DistillationError: A module or parameter does not exist; with the nearest
            names.
    """
    for role, network in (('student', student), ('teacher', teacher)):
        for name, cfg in (distiller.get(f'{role}_recorders') or {}).items():
            kind, source = cfg['type'].split('.')[-1], cfg['source']
            if kind.startswith('Module'):
                known = dict(network.named_modules())
            elif kind.startswith('Parameter'):
                known = dict(network.named_parameters())
            else:
                _check_code(role, name, kind, source)
                continue
            if source not in known or not source:
                what = kind.removesuffix('Outputs').removesuffix('Inputs').lower()
                raise DistillationError(
                    f'{role}_recorders.{name}: the {role} ({type(network).__name__}) '
                    f'has no {what} {source!r}. The nearest: '
                    + ', '.join(nearest(source, known))
                )


def check_all_used(distiller: dict) -> None:
    """See that every loss and connector of a distiller has a part in it.

    A loss without a mapping is never computed, and a connector that no mapping
    names has no gradient, for which several GPUs would wait.

    Args:
        distiller (dict): Config of the distiller.

    Raises:
        DistillationError: There is neither a pair nor a delivery, there is a loss
            without a mapping, or a connector that no mapping names.
    """
    mappings = distiller.get('loss_forward_mappings') or {}
    if not mappings and not distiller.get('distill_deliveries'):
        raise DistillationError(
            'the distiller compares nothing: give at least one loss in '
            'distill_losses and its pair in loss_forward_mappings, or a delivery'
        )
    named = {
        'distill_losses': (set(mappings), 'has no entry in loss_forward_mappings'),
        'connectors': (
            {r.get('connector') for m in mappings.values() for r in m.values()},
            'is named by no entry of loss_forward_mappings',
        ),
    }
    for part, (used, what) in named.items():
        unused = sorted(set(distiller.get(part) or {}) - used)
        if unused:
            raise DistillationError(
                f'{part}: {", ".join(unused)} {what}; add one, or leave it out'
            )


def nearest(source, known):
    """The names of ``known`` that are most alike, or the deepest that exist."""
    known = [k for k in known if k]  # the network itself is named ''
    near = difflib.get_close_matches(source, known, n=5)
    if near:
        return near
    # nothing alike: the children of the deepest part of the path that exists
    parent = source
    while parent and parent not in known:
        parent = parent.rpartition('.')[0]
    depth = parent.count('.') + bool(parent)
    return [k for k in known if k.startswith(parent) and k.count('.') == depth]


def _check_code(role, name, kind, source):
    """A function's or method's path, as MMRazor will look it up."""
    parts = source.split('.')
    levels = 2 if kind.startswith('Method') else 1
    owner = import_modules_from_strings(
        '.'.join(parts[:-levels]), allow_failed_imports=True
    )
    for part in parts[-levels:]:
        found = getattr(owner, part, None)
        if found is None:
            raise DistillationError(
                f'{role}_recorders.{name}: there is no {source!r}. The nearest: '
                f'{", ".join(difflib.get_close_matches(part, dir(owner), n=5))}'
            )
        owner = found


def _arguments(distiller):
    """(loss, its argument, mapping, recorder, recorded source's name) of all."""
    for loss, mapping in distiller.loss_forward_mappings.items():
        for argument, record in mapping.items():
            manager = (
                distiller.student_recorders
                if record['from_student']
                else distiller.teacher_recorders
            )
            yield loss, argument, record, manager.get_recorder(record['recorder'])


def explain_failure(distiller) -> str | None:
    """Which pair could not be compared, while its records are still there.

    Args:
        distiller (ConfigurableDistiller): After both forward passes.

    Returns:
        str, optional: The message; None where all pairs go together, so that
        the failure is somewhere else.
    """
    for loss, argument, record, recorder in _arguments(distiller):
        role = 'student' if record['from_student'] else 'teacher'
        if not recorder.data_buffer:
            return (
                f'{loss}.{argument}: {recorder.source!r} of the {role} exists but '
                'was never called in its forward pass, so nothing was recorded. '
                'Record a layer that is called as a module (a head computes its '
                'loss by its method `forward`; take one of its layers, such as '
                'decode_head.conv_seg)'
            )
        raw = {**record, 'connector': None, 'connector_idx': None}
        try:
            distiller.get_record(**raw)
        except Exception:
            index = [f'{k}={v}' for k, v in record.items() if k.endswith('_idx')]
            return (
                f'{loss}.{argument}: there is no {", ".join(index)} in what '
                f'{recorder.source!r} of the {role} recorded, '
                f'{_shape(recorder.data_buffer)}: data_idx counts in what one call '
                'gave, record_idx the calls, both from 0'
            )
    for loss, mapping in distiller.loss_forward_mappings.items():
        forward = {}
        for argument, record in mapping.items():
            raw = {**record, 'connector': None, 'connector_idx': None}
            try:
                forward[argument] = distiller.get_record(**record)
            except Exception as error:
                return (
                    f'{loss}.{argument}: the connector {record.get("connector")!r} '
                    f'does not take {_shape(distiller.get_record(**raw))}, what '
                    f'{record["recorder"]!r} recorded: {error}'
                )
        try:
            distiller.distill_losses[loss](**forward)
        except Exception as error:
            pair = ', '.join(f'{k} {_shape(v)}' for k, v in forward.items())
            return (
                f'{loss} ({type(distiller.distill_losses[loss]).__name__}) cannot '
                f'compare its pair ({pair}): {error or type(error).__name__}. Maps of '
                'different sizes need a loss that resizes the teacher (PKLLoss, '
                'NFDLoss, or any other in ResizeTeacherLoss); different channels need '
                'a connector'
            )
    return None


def check_channels(distiller) -> None:
    """Refuse MMRazor's losses on class probabilities for logits of one channel.

    The softmax of one channel is 1 for any logit, and such a loss 0.

    Args:
        distiller (ConfigurableDistiller): After both forward passes.

    Raises:
        DistillationError: With the pair and the way out.
    """
    for loss, argument, record, recorder in _arguments(distiller):
        module = distiller.distill_losses[loss]
        kind = type(getattr(module, 'loss', module)).__name__
        if kind not in WITH_SOFTMAX or not recorder.data_buffer:
            continue
        shape = getattr(distiller.get_record(**record), 'shape', ())
        if len(shape) == 4 and shape[1] == 1:
            raise DistillationError(
                f'{loss}.{argument} is {tuple(shape)}, logits of one channel, and '
                f'{kind} takes a softmax over the channels, which is 1 for any of '
                'them: the loss would always be 0. Take PKLLoss, which compares '
                'sigmoids there, or two output channels in both heads'
            )


@torch.no_grad()
def try_pairs(model, size: tuple[int, int]) -> None:
    """Compare all pairs once, on noise, before any training.

    Both networks run in evaluation mode; no weight, statistic or random generator of
    PyTorch is changed. Pairs recorded where only a training step comes by are left to
    the first one, as are networks that are compiled and distillers with deliveries.

    Args:
        model (MultiResolutionDistill): Not wrapped.
        size (tuple[int, int]): Height and width of its batches in pixels.

    Raises:
        DistillationError: Two maps do not go together.
    """
    distiller, networks = model.distiller, (model.student, model.teacher.network)
    compiled = any(getattr(n, '_compiled_call_impl', None) for n in networks)
    if compiled or distiller.deliveries.deliveries:
        return
    parameter = next(model.parameters())
    layers = (m for m in model.student.modules() if isinstance(m, nn.Conv2d))
    shape = (1, next(layers).in_channels, *size)
    image = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    image = image.to(parameter.device)
    training = model.training
    devices = [parameter.device] if parameter.is_cuda else []
    try:
        with torch.random.fork_rng(devices), distiller.teacher_recorders:
            model.teacher(image)
            model.eval()
            with distiller.student_recorders:
                model.student(model.student_view(image), mode='tensor')
            if all(r.data_buffer for *_, r in _arguments(distiller)):
                reason = explain_failure(distiller)
                if reason is not None:
                    raise DistillationError(f'at {size[0]}x{size[1]} pixels {reason}')
            check_channels(distiller)
    finally:
        model.train(training)
        model._forget_records()


def describe_pairs(distiller) -> PrettyTable:
    """A table of all pairs, with the shapes of what is recorded now."""
    rows = {}
    for loss, _, record, recorder in _arguments(distiller):
        row = rows.setdefault(loss, {'teacher': [], 'student': [], 'connector': []})
        index = record.get('data_idx')
        data = recorder.get_record_data(record.get('record_idx', 0), index)
        if isinstance(data, tuple) and all(isinstance(side, int) for side in data):
            continue  # the size of a map that comes as tokens
        shape = _shape(data)
        source = recorder.source if index is None else f'{recorder.source}[{index}]'
        role = 'student' if record['from_student'] else 'teacher'
        row[role].append(f'{source} {shape}')
        name = record.get('connector')
        if name:
            connector = distiller.connectors[name]
            size = sum(p.numel() for p in connector.parameters())
            row['connector'].append(f'{name} ({size:,} parameters)')
    table = PrettyTable(['pair', 'teacher', 'student', 'connector', 'weight'])
    table.align = 'l'
    for loss, row in rows.items():
        weight = getattr(distiller.distill_losses[loss], 'loss_weight', '-')
        cells = ('\n'.join(row[c]) or '-' for c in ('teacher', 'student', 'connector'))
        table.add_row([loss, *cells, weight])
    return table


def _shape(record):
    if isinstance(record, Tensor):
        return tuple(record.shape)
    if isinstance(record, list | tuple):
        return [_shape(r) for r in record]
    return type(record).__name__
