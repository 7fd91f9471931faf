"""Pass ``unread_norms``."""

from torch import Tensor, nn

from .dataflow import Dataflow
from .layers import NORMS, replace


def drop_unread_norms(network: nn.Module, example: Tensor) -> int:
    """Drop the norms of outputs that nobody reads.

    A backbone normalises each of its outputs, a head need not read them all:
    FastSegFormer's decoder takes stages 2 and 4 alone, so the norms of stages 1 and
    3 are computed for nothing. What is put out in their place is not read either.

    Args:
        network (nn.Module): Changed in place.
        example (Tensor): An input for it.

    Returns:
        int: Norms dropped.
    """
    flow = Dataflow(network, example)
    unread = [
        module
        for module in network.modules()
        if isinstance(module, NORMS) and flow.ran(module) and not flow.readers(module)
    ]
    for norm in unread:
        replace(network, norm, nn.Identity())
    return len(unread)
