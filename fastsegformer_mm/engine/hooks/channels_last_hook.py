"""The memory format in which a CPU convolves."""

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Put the model into the memory format channels_last, for training and testing.

    oneDNN convolves in it, and resizing, pooling and batch normalisation are faster
    in it on a CPU. Only rounding tells the results of the two formats apart.

    The weights are changed, and the maps follow them: a convolution puts out what
    its weights are in. Everything that comes after has the format too: averaged
    copies of the model, the optimizer's state, a checkpoint's tensors. The teacher of
    a distillation changes along with its student.

    Args:
        device (str, optional): The kind of device for which it is done, 'cpu' or
            'cuda'; on any other nothing changes. None is all. Defaults to 'cpu'.

    Example:
        >>> default_hooks = dict(channels_last=dict(type='ChannelsLastHook'))
    """

    # before EMAHook copies the model
    priority = 'VERY_HIGH'

    def __init__(self, device: str | None = 'cpu') -> None:
        self.device = device

    def before_run(self, runner: Runner) -> None:
        """Change the weights, in place."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        found = {p.device.type for p in model.parameters()}
        if self.device is not None and found != {self.device}:
            return
        model.to(memory_format=torch.channels_last)
        runner.logger.info(f'{type(model).__name__} runs in channels_last.')
