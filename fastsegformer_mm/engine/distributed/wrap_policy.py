"""Which parts of a segmentor FullyShardedDataParallel may shard on their own."""

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import nn
from torch.distributed.fsdp.wrap import size_based_auto_wrap_policy


def segmentor_wrap_policy(
    module: nn.Module, recurse: bool, nonwrapped_numel: int, min_num_params: int
) -> bool:
    """Torch's policy by size, which spares the heads.

    A sharded module gathers its weights when it is called. The segmentor never calls
    a head: it calls its ``loss`` or ``predict``, which would find weights that are
    not there. A head's layers are sharded one by one.

    A config names it by its whole path: MMEngine's registry of functions, which
    all packages share, is left as it is.

    Args:
        module (nn.Module): Of the segmentor.
        recurse (bool): Whether this asks to look into the module, or to wrap it.
        nonwrapped_numel (int): Values in it that are in no unit yet.
        min_num_params (int): The smallest unit, in values.

    Returns:
        bool: The answer.

    Example:
        >>> module = 'fastsegformer_mm.engine.distributed.wrap_policy'
        >>> strategy = dict(
        ...     type='FSDPStrategy',
        ...     model_wrapper=dict(
        ...         type='MMFullyShardedDataParallel',
        ...         auto_wrap_policy=dict(
        ...             type=f'{module}.segmentor_wrap_policy',
        ...             min_num_params=1_000_000)))
    """
    return size_based_auto_wrap_policy(
        module,
        recurse,
        nonwrapped_numel,
        min_num_params,
        exclude_wrap_modules={nn.ModuleList, nn.ModuleDict, BaseDecodeHead},
    )
