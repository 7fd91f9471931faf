"""The place of a hook, left empty."""

from mmengine.hooks import Hook
from mmseg.registry import HOOKS


@HOOKS.register_module()
class NoOpHook(Hook):
    """Does nothing, in the place of a hook that a config inherits.

    MMEngine lets a config set the hooks that it has by default itself to None; any
    other of ``default_hooks`` can only be replaced.

    Args:
        **replaced: Arguments of the hook that is replaced, which are merged into
            this one's; without effect.

    Example:
        >>> default_hooks = dict(check_dataset=dict(type='NoOpHook'))
    """

    def __init__(self, **replaced) -> None:
        pass
