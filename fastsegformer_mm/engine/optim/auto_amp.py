"""Mixed precision where the machine gains by it."""

from pathlib import Path

import torch
from mmengine.logging import print_log
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmseg.registry import OPTIM_WRAPPERS
from torch.optim import Optimizer

from .cpu_amp_optim_wrapper import CPUAmpOptimWrapper


@OPTIM_WRAPPERS.register_module('AutoAmpOptimWrapper')
def auto_amp_optim_wrapper(
    optimizer: Optimizer,
    dtype: str | None = None,
    loss_scale: str | float | dict = 'dynamic',
    use_fsdp: bool = False,
    **kwargs,
) -> OptimWrapper:
    """The optimizer wrapper for the device that the weights are on.

    ==================================== ========================================
    CUDA (and NPU, MLU, MUSA)            MMEngine's AmpOptimWrapper
    CPU with instructions for bfloat16   :class:`CPUAmpOptimWrapper`
    any other                            MMEngine's OptimWrapper, in float32
    ==================================== ========================================

    What was taken is logged. A checkpoint of one goes on with any other.

    Args:
        optimizer (Optimizer): Its first weight tells the device.
        dtype (str, optional): Of AmpOptimWrapper; without effect elsewhere. Defaults
            to None, float16 on CUDA.
        loss_scale (str | float | dict): The same. Defaults to 'dynamic'.
        use_fsdp (bool): The same. Defaults to False.
        **kwargs: Of all three: ``accumulative_counts``, ``clip_grad``.

    Example:
        >>> optim_wrapper = dict(
        ...     type='AutoAmpOptimWrapper', optimizer=dict(type='Adam', lr=1e-3))
    """
    device = optimizer.param_groups[0]['params'][0].device.type
    if device in ('cuda', 'npu', 'mlu', 'musa'):
        return AmpOptimWrapper(
            optimizer=optimizer,
            dtype=dtype,
            loss_scale=loss_scale,
            use_fsdp=use_fsdp,
            **kwargs,
        )
    if device == 'cpu' and has_native_bfloat16():
        print_log('Training in bfloat16 (autocast on the CPU).', 'current')
        return CPUAmpOptimWrapper(optimizer=optimizer, **kwargs)
    reason = (
        'this processor has no instructions for bfloat16 (AVX512-BF16), and emulating '
        'them is slower'
        if device == 'cpu'
        else f'MMEngine has no mixed precision on {device!r}'
    )
    print_log(f'Training in float32: {reason}.', 'current')
    return OptimWrapper(optimizer=optimizer, **kwargs)


def has_native_bfloat16() -> bool:
    """Whether this CPU trains faster in bfloat16 than in float32.

    True for x86 processors with AVX512-BF16 (Intel from Cooper Lake and Sapphire
    Rapids, those with AMX included; AMD from Zen 4) and a PyTorch with oneDNN.
    """
    # what oneDNN would use, but it also takes processors with AVX512 alone, on which
    # it emulates
    usable = getattr(torch.ops.mkldnn, '_is_mkldnn_bf16_supported', None)
    if usable is None or not usable():
        return False
    # of torch 2.6 and later
    native = getattr(torch.cpu, '_is_avx512_bf16_supported', None)
    if native is not None:
        return native()
    cpuinfo = Path('/proc/cpuinfo')
    return cpuinfo.is_file() and 'avx512_bf16' in cpuinfo.read_text(encoding='utf-8')
