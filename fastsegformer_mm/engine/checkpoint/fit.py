"""Whether a checkpoint is that of the network that is to take it."""

import re
from dataclasses import dataclass, field

import torch
from torch import nn

from .contents import some
from .errors import CheckpointError

# What a distillation puts before its student's keys.
STUDENT = 'architecture.'
# Below this share of its weights found, it is another network.
MOST = 0.5
_MISMATCH = re.compile(
    r'size mismatch for (\S+): copying a param with shape torch\.Size\(\[(.*?)\]\) '
    r'from checkpoint, the shape in current model is torch\.Size\(\[(.*?)\]\)'
)


@dataclass
class Fit:
    """How a state dict fits a network.

    Attributes:
        own (list[str]): The network's keys, but those of integers: they are counters
            or indices that a constructor makes, and may always be absent.
        missing (list[str]): Those that the state dict lacks.
        unexpected (list[str]): Keys that the network has not.
        mismatched (dict[str, tuple]): Key -> shapes in the state dict and the network.
        others (list[str]): What else the network says against the state dict.
    """

    own: list
    missing: list = field(default_factory=list)
    unexpected: list = field(default_factory=list)
    mismatched: dict = field(default_factory=dict)
    others: list = field(default_factory=list)

    def problems(self, unexpected: bool = True) -> list[str]:
        """A line for each kind of problem.

        Args:
            unexpected (bool): Whether unexpected keys are one. Defaults to True.
        """
        mismatched = [
            f'{key} {found} instead of {own}'
            for key, (found, own) in self.mismatched.items()
        ]
        kinds = (
            ('missing', self.missing),
            ('unexpected', self.unexpected if unexpected else []),
            ('mismatched', mismatched),
        )
        counted = [f'{len(keys)} {kind}: {some(keys)}' for kind, keys in kinds if keys]
        return counted + self.others


def compare(module: nn.Module, weights: dict, optional=()) -> Fit:
    """Compare keys and shapes.

    Args:
        module (nn.Module): The network.
        weights (dict[str, Tensor]): Under the module's own keys.
        optional (Collection[str]): Keys of the module that may be absent.
    """
    own = module.state_dict()
    counted = _learned(own)
    return Fit(
        own=counted,
        missing=[k for k in counted if k not in weights and k not in optional],
        unexpected=[k for k in weights if k not in own],
        mismatched={
            k: (tuple(weights[k].shape), tuple(own[k].shape))
            for k in own
            if k in weights and _shape(weights[k]) != _shape(own[k])
        },
    )


def _learned(weights):
    return [
        k
        for k, v in weights.items()
        if isinstance(v, torch.Tensor) and (v.is_floating_point() or v.is_complex())
    ]


def _shape(value):
    # a module's own extra state may be no tensor
    return tuple(getattr(value, 'shape', ()))


def compare_by_loading(model: nn.Module, weights: dict) -> Fit:
    """Same as :func:`compare`, where modules rename or convert keys as they load.

    What fits is loaded.
    """
    fit = Fit(_learned(model.state_dict()))

    def keep(_, keys):
        fit.missing = [k for k in keys.missing_keys if k in fit.own]
        fit.unexpected = list(keys.unexpected_keys)

    handle = model.register_load_state_dict_post_hook(keep)
    try:
        model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        for line in str(error).splitlines()[1:]:
            found = _MISMATCH.search(line)
            if found:
                shapes = (
                    tuple(int(n) for n in text.split(', ') if n)
                    for text in found.groups()[1:]
                )
                fit.mismatched[found[1]] = tuple(shapes)
            elif line.strip():
                fit.others.append(line.strip())
    finally:
        handle.remove()
    return fit


def load_all_or_raise(module: nn.Module, weights: dict, path, optional=()) -> None:
    """Load ``weights`` into ``module``, or say everything that does not fit.

    Args:
        module (nn.Module): Receives the weights; untouched when this raises.
        weights (dict[str, Tensor]): Under the module's own keys.
        path (str | Path): Where they come from, for the message.
        optional (Collection[str]): Keys of the module that the file may lack.
            Integers, such as ``num_batches_tracked``, may always be absent.

    Raises:
        CheckpointError: Lists missing, unexpected and mismatched keys.

    Example:
        >>> norm = nn.BatchNorm2d(2)
        >>> load_all_or_raise(norm, {'weight': torch.ones(2)}, 'norm.pth')
        Traceback (most recent call last):
        CheckpointError: checkpoint 'norm.pth' does not fit BatchNorm2d: ...
    """
    problems = compare(module, weights, optional).problems()
    if problems:
        raise CheckpointError(
            f'checkpoint {str(path)!r} does not fit {type(module).__name__}: '
            + '; '.join(problems)
            + '. Nothing was loaded. Give the file of the same architecture, and '
            "the `prefix` of the backbone's keys if they have one"
        )
    module.load_state_dict(weights, strict=False)


def check_fit(
    model: nn.Module,
    weights: dict,
    path,
    partly: bool = False,
    optional: str | None = None,
    allow_mismatch=(),
    classes=None,
) -> Fit:
    """Refuse the checkpoint of another network; the model may take what fits.

    Args:
        model (nn.Module): The network.
        weights (dict[str, Tensor]): Its state dict, of the file.
        path (str | Path): The file, for the message.
        partly (bool): Whether keys may be missing as long as most are there, as in
            fine-tuning. Defaults to False.
        optional (str, optional): The start of keys that may be missing.
        allow_mismatch (Sequence[str]): Regular expressions for keys that may have
            another shape. Defaults to none.
        classes (Sequence[str], optional): The file's classes, for the message.

    Returns:
        Fit: What is missing or unexpected, and what has another shape and may.

    Raises:
        CheckpointError: It does not fit. Names the file, what does not, the way out.
    """
    fit = compare(model, weights)
    if fit.missing or fit.mismatched:
        fit = compare_by_loading(model, weights)
    name = f'checkpoint {str(path)!r}'
    here = type(model).__name__
    _check_distillation(fit, weights, name, here)
    if len(fit.missing) > (1 - MOST) * len(fit.own):
        raise CheckpointError(
            f'{name} is that of another network: it has '
            f'{len(fit.own) - len(fit.missing)} of the {len(fit.own)} weights of '
            f'{here}. Its keys are like {_like(weights)}, those of the network like '
            f'{_like(fit.own)}. Give the checkpoint of this network, or the config of '
            "that one; a backbone's own checkpoint goes into "
            "model.backbone.init_cfg=dict(type='Pretrained', checkpoint=FILE)"
        )
    refused = {
        k: v
        for k, v in fit.mismatched.items()
        if not any(re.search(pattern, k) for pattern in allow_mismatch)
    }
    missing = [] if partly else fit.missing
    if optional:
        missing = [k for k in missing if not k.startswith(optional)]
    left = Fit(fit.own, missing, [], refused, fit.others)
    if not left.problems():
        return fit
    modules = sorted({k.rpartition('.')[0] for k in refused})
    anew = (
        f'. To fine-tune and let them start anew: allow_mismatch={modules[:3]} of '
        'CheckCheckpointHook'
        if partly and refused
        else ''
    )
    counts = _class_counts(model, refused)
    if counts:
        known = f' ({some(classes, 5)})' if classes else ''
        raise CheckpointError(
            f'{name} was trained for another number of classes{known}: '
            f'{"; ".join(counts)}. Give the config that it was trained with, or the '
            f'checkpoint of this one{anew}'
        )
    raise CheckpointError(
        f'{name} does not fit {here}: {"; ".join(left.problems())}. Give the config '
        f'that it was trained with, or the checkpoint of this one{anew}'
    )


def _check_distillation(fit, weights, name, here):
    """A distillation's file for the student alone, or the other way round."""
    distilled = any(k.startswith(STUDENT) for k in weights)
    distils = any(k.startswith(STUDENT) for k in fit.own)
    if distilled and not distils:
        raise CheckpointError(
            f'{name} is that of a distillation, its keys begin with {STUDENT!r}; '
            f'{here} is a network alone. Take the student out of it first: '
            'tools/model_converters/export_student.py FILE student.pth (or use '
            'the file in the folder student/ beside it)'
        )
    if distils and not distilled:
        raise CheckpointError(
            f'{name} is that of a network alone; {here} is a distillation, whose '
            f'keys begin with {STUDENT!r}. To start its student from this file: '
            "model.architecture.init_cfg=dict(type='Pretrained', checkpoint=FILE); "
            "the teacher's is model.teacher_ckpt"
        )


def _class_counts(model, mismatched):
    """A line for each classifier, if nothing but classifiers mismatches."""
    heads = {
        name: {head.num_classes, getattr(head, 'out_channels', None)}
        for name, head in model.named_modules()
        if isinstance(getattr(head, 'num_classes', None), int)
    }
    lines = []
    for key, (found, own) in mismatched.items():
        of_head = any(
            key.startswith(f'{name}.' if name else '') and own and own[0] in counts
            for name, counts in heads.items()
        )
        if not of_head or found[1:] != own[1:]:
            return []
        if key.endswith('weight'):
            lines.append(
                f'{key}: {found[0]} classes in the file, {own[0]} in the config'
            )
    return lines


def _like(keys):
    """Some keys from all over a network."""
    keys = list(keys)
    return some(keys[:: max(1, len(keys) // 3)], 4) or 'none'
