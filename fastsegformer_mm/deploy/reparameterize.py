"""The deploy form of a trained network: equal outputs, fewer operations."""

import copy
from collections.abc import Sequence

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from .errors import DeployError
from .passes import PASSES as FUNCTIONS

PASSES = tuple(FUNCTIONS)
# by type, a share of the largest output. In float32 some networks (PIDNet) make
# errors of 3e-3 out of their own rounding; in float64 what is left is a fault
TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-3}


def reparameterize(
    network: nn.Module,
    passes: Sequence[str] | None = None,
    example: Tensor | Sequence[int] | None = None,
) -> nn.Module:
    """An algebraically equal, faster network.

    Each pass rewrites one pattern; see its own docstring in
    :mod:`fastsegformer_mm.deploy.passes` for the algebra. What a network does not
    have is passed over, so that any segmentor will do. The result is compared with
    the network it comes from on the example, both in float64 where the network runs
    in it, so that rounding does not pass for an error.

    Args:
        network (DeployNetwork): Trained, float32; it is copied. A bare segmentor
            will not do: its outputs must follow from its input.
        passes (Sequence[str], optional): Names of those to run, of ``PASSES``, in
            whose order they run. Defaults to None, all.
        example (Tensor | Sequence[int], optional): ``[N, C, H, W]``, an input that the
            network takes, or (H, W) for noise of that size; best of the size that the
            network will mostly get, for which some things are laid out. Defaults to
            None, noise of 64 x 64.

    Returns:
        nn.Module: In evaluation mode, without gradients, on the same device, of the
            same type.

    Raises:
        DeployError: A pass is not known, the network is in half precision, or the
            result differs from the network (which would be a bug).

    Example:
        >>> network, card = load_network(config, checkpoint)
        >>> fast = reparameterize(network)
    """
    unknown = sorted(set(passes or ()) - set(PASSES))
    if unknown:
        raise DeployError(f'passes has {unknown}; expected some of {list(PASSES)}')
    network = copy.deepcopy(network).eval().requires_grad_(False)
    parameter = next(network.parameters())
    if parameter.dtype not in (torch.float32, torch.float64):
        raise DeployError(
            f'the network is in {parameter.dtype}; expected float32: reparameterize '
            'first, then change the type'
        )
    if not isinstance(example, Tensor):
        generator = torch.Generator().manual_seed(0)
        shape = (1, getattr(network, 'channels', 3), *(example or (64, 64)))
        example = torch.rand(shape, generator=generator)
    dtype = parameter.dtype
    example, before = _most_exact(network, example.to(parameter))
    counts = {}
    for name in PASSES:
        if passes is None or name in passes:
            counts[name] = FUNCTIONS[name](network, example)
    with torch.no_grad():
        error = float((network(example) - before).abs().max() / before.abs().max())
    tolerance = TOLERANCES[example.dtype]
    done = ', '.join(f'{name} {count}' for name, count in counts.items())
    if not error <= tolerance:
        raise DeployError(
            f'the deploy form ({done}) differs from the network by {error:.1e} of its '
            f'largest logit; expected {tolerance:.0e} at most. Leave out the pass at '
            'fault by the argument passes, and report it, please'
        )
    print_log(f'Deploy form: {done}; differs by {error:.1e}', logger='current')
    return network.to(dtype)


@torch.no_grad()
def _most_exact(network: nn.Module, example: Tensor):
    """Bring a network to float64, if it runs in it; the example and its logits so."""
    image = example.double()
    try:
        return image, network.double()(image)
    except (RuntimeError, TypeError):  # a part insists on another type
        return example, network.to(example.dtype)(example)
