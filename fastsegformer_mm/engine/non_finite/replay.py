"""A file of an iteration whose loss was not finite, and computing it again."""

import contextlib
import platform
import sys
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from fastsegformer_mm.engine.checkpoint.errors import CheckpointError
from fastsegformer_mm.engine.checkpoint.read import read_checkpoint
from fastsegformer_mm.version import __version__

from .diagnosis import (
    Findings,
    bad_terms,
    bad_weights,
    count_bad,
    images_of,
    networks,
    value_range,
)
from .plain_data import from_plain, to_plain
from .random_state import RandomState

KIND = 'non-finite loss'


def versions() -> dict[str, str]:
    """Of what the numbers depend on, as far as it is in use."""
    found = dict(python=platform.python_version(), fastsegformer_mm=__version__)
    for name in ('torch', 'numpy', 'mmengine', 'mmcv', 'mmseg', 'mmrazor'):
        if name in sys.modules:
            found[name] = str(sys.modules[name].__version__)
    return found


def record(model: nn.Module, batch, findings: Findings, weights: bool, **more) -> dict:
    """All that is needed to compute the losses of an iteration again.

    Args:
        model (nn.Module): As before the iteration.
        batch: What the data preprocessor has given to the network.
        findings (Findings): Of this process.
        weights (bool): Whether this process has the whole of the weights.
        more: Further entries, plain ones.

    Returns:
        dict: What ``torch.load(weights_only=True)`` reads.
    """
    plain = bool, int, float, str
    state_dict = model.state_dict()
    return dict(
        kind=KIND,
        losses=dict(findings.losses),
        non_finite=findings.bad_losses,
        files=list(findings.files),
        batch=to_plain(batch),
        state_dict=to_plain(dict(state_dict)) if weights else None,
        # those that checkpoints leave out
        buffers={
            k: to_plain(v) for k, v in model.named_buffers() if k not in state_dict
        },
        # what a frozen part or a hook has changed after the model was built
        eval_modules=[name for name, m in model.named_modules() if not m.training],
        attributes={
            k: v
            for k, v in vars(model).items()
            if type(v) in plain and k[0] != '_' and k != 'training'
        },
        versions=versions(),
        **more,
    )


def autocast_state(device: torch.device) -> dict | None:
    """Autocast as it is now: {'dtype': such as 'bfloat16'}; None where it is off."""
    if hasattr(torch, 'get_autocast_dtype'):
        on = torch.is_autocast_enabled(device.type)
        dtype = torch.get_autocast_dtype(device.type)
    elif device.type == 'cpu':  # before torch 2.4
        on, dtype = torch.is_autocast_cpu_enabled(), torch.get_autocast_cpu_dtype()
    else:
        on, dtype = torch.is_autocast_enabled(), torch.get_autocast_gpu_dtype()
    return dict(dtype=str(dtype).split('.')[-1]) if on else None

@dataclass
class Origin:
    """The first module that made finite values into others.

    Attributes:
        name (str): In the model; '' is the whole of it.
        kind (str): Its class.
        inputs (str): Range of what it was given.
        outputs (str): Range of what it gave.
        own (bool): Whether it has no submodules that could have done it.
    """

    name: str
    kind: str
    inputs: str
    outputs: str
    own: bool


@dataclass
class Replay:
    """What came of computing an iteration again.

    Attributes:
        saved (dict[str, float]): The losses of the file.
        losses (dict[str, float]): The losses now.
        inputs (str): Range of the values that the network was given.
        bad_weights (list[str]): Parameters and buffers that are not finite.
        origin (Origin, optional): None where no module turns finite values into
            others, as when the images or the weights are not finite.
    """

    saved: dict
    losses: dict
    inputs: str
    bad_weights: list = field(default_factory=list)
    origin: Origin | None = None

    @property
    def reproduced(self) -> bool:
        """Whether the same terms are not finite."""
        return bad_terms(self.saved) == bad_terms(self.losses)


def read_record(path) -> dict:
    """Read what NonFiniteLossHook has written, running no code from it.

    Raises:
        CheckpointError: It cannot be read or is another file.
        FileNotFoundError: It is not there.
    """
    content = read_checkpoint(path)
    if not isinstance(content, dict) or content.get('kind') != KIND:
        raise CheckpointError(
            f'{path} is not a file of NonFiniteLossHook: expected one of '
            'WORK_DIR/non_finite/iter_*.pth'
        )
    return content


def replay(model: nn.Module, content: dict, device='cpu') -> Replay:
    """Compute the losses of a file again, watching where they become non-finite.

    On the device of the training and with its versions the values are the same.

    Args:
        model (nn.Module): Built from the config of the training; it gets the
            weights of the file.
        content (dict): From :func:`read_record`.
        device (str | torch.device): Where to compute. Defaults to 'cpu'.

    Raises:
        CheckpointError: The file has no weights, or those of another model.
    """
    device = torch.device(device)
    if content['state_dict'] is None:
        raise CheckpointError(
            'the file has no weights, as no process of its training had all of them '
            '(FSDP): set state_dict to those of a checkpoint first'
        )
    try:
        model.load_state_dict(content['state_dict'])
    except RuntimeError as error:
        raise CheckpointError(
            f'the weights of the file are not of this {type(model).__name__}: give '
            f'the config of that training. {error}'
        ) from error
    model.to(device).train()
    with torch.no_grad():
        for name, buffer in content['buffers'].items():
            model.get_buffer(name).copy_(buffer)
    for name in content['eval_modules']:
        model.get_submodule(name).training = False
    for name, value in content['attributes'].items():
        setattr(model, name, value)
    batch = _to(from_plain(content['batch']), device)
    inputs = torch.cat([x.float().reshape(-1) for x in images_of(batch)])
    result = Replay(
        content['losses'], {}, value_range(inputs), bad_weights=bad_weights(model)
    )
    autocast = contextlib.nullcontext()
    if content['autocast']:
        dtype = getattr(torch, content['autocast']['dtype'])
        autocast = torch.autocast(device.type, dtype=dtype)
    if content['random_state'] is not None:
        RandomState.restore(content['random_state'], device)
    # with gradients, without which some layers compute in another way
    with _watch(model) as origins:
        with autocast:
            losses = _call(model, batch)
        _, log_vars = model.parse_losses(losses)
    result.losses = {name: float(value) for name, value in log_vars.items()}
    result.origin = origins[0] if origins else None
    return result


def _call(model, batch):
    if isinstance(batch, dict):
        return model(**batch, mode='loss')
    return model(*batch, mode='loss')


def _to(value, device):
    if hasattr(value, 'to'):
        return value.to(device)
    if isinstance(value, dict):
        return {k: _to(v, device) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_to(v, device) for v in value)
    return value


@contextlib.contextmanager
def _watch(model: nn.Module):
    """List, in the order in which they finish, modules that are an origin."""
    found, calls, handles = [], {}, []

    def before(module, args, kwargs):
        # before, as a module that works in place overwrites its input
        tensors = _tensors((args, kwargs))
        sound = not any(map(count_bad, tensors)) and not bad_weights(module)
        calls.setdefault(module, []).append((sound, _range(tensors)))

    def after(name, module, outputs):
        sound, inputs = calls[module].pop()
        tensors = _tensors(outputs)
        if sound and any(map(count_bad, tensors)):
            own = next(module.children(), None) is None
            found.append(
                Origin(name, type(module).__name__, inputs, _range(tensors), own)
            )

    for prefix, network in networks(model).items():
        for name, module in network.named_modules():
            handles += [
                module.register_forward_pre_hook(before, with_kwargs=True),
                module.register_forward_hook(
                    lambda m, args, out, name=prefix + name: after(name, m, out)
                ),
            ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _tensors(value) -> list[Tensor]:
    return [
        t
        for t in tree_flatten(value)[0]
        if isinstance(t, Tensor) and t.is_floating_point()
    ]


def _range(tensors) -> str:
    if not tensors:
        return 'no values'
    return value_range(torch.cat([t.detach().float().reshape(-1) for t in tensors]))
