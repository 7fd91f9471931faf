"""What the converter is told of a network, and what helps to tell it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from re import Pattern

from torch import Tensor, nn


def keep_name(key: str, value: Tensor) -> tuple[str, Tensor]:
    """A ``rename`` of :class:`Network` that changes nothing."""
    return key, value


@dataclass
class Network:
    """A recognised network.

    Args:
        name (str): The network, such as ``FastSegFormer-E``; of a file with a
            backbone alone, the backbone.
        backbone_name (str): The backbone, such as ``EfficientFormerV2-S0``.
        backbone (nn.Module): Our backbone, newly made.
        head (nn.Module, optional): Our decode head, newly made; None for a backbone
            alone.
        details (list[str]): What else distinguishes it, for people to read.
        rename (Callable): From an official key and its value to our key, with
            the prefixes of :attr:`modules`, and the value in our order. A key
            that has no place here becomes None. Defaults to the same ones.
        constant (Pattern, optional): Official keys that our constructors make
            anew, whatever the file says. Defaults to None, none.
        classifier (Pattern, optional): Official keys that are left out and reported
            as dropped: an ImageNet file's classifier. Defaults to None, none.
        untrained (Pattern, optional): Our keys that the file may lack. Defaults to
            None, none.
    """

    name: str
    backbone_name: str
    backbone: nn.Module
    head: nn.Module | None = None
    details: list = field(default_factory=list)
    rename: Callable = keep_name
    constant: Pattern | None = None
    classifier: Pattern | None = None
    untrained: Pattern | None = None

    @property
    def num_classes(self):
        """int | None: Classes that the head tells apart."""
        return None if self.head is None else self.head.num_classes

    @property
    def modules(self):
        """dict[str, nn.Module]: The modules, by the prefix of their keys."""
        if self.head is None:
            return {'': self.backbone}
        return {'backbone.': self.backbone, 'decode_head.': self.head}


def size(weights, key, dim=0):
    """Length of one dimension of an official weight.

    Raises:
        ValueError: There is no such key, without which the network's options
            cannot be told.
    """
    if key not in weights:
        raise ValueError(f'it lacks {key!r}, which tells the width of a layer')
    return weights[key].shape[dim]


def count(weights, prefix):
    """How many of ``{prefix}0.``, ``{prefix}1.``, ... the weights have, in a row."""
    n = 0
    while any(key.startswith(f'{prefix}{n}.') for key in weights):
        n += 1
    return n


def tops(weights):
    """What the keys begin with, for a message on a file that is not known."""
    return ', '.join(sorted({key.split('.')[0] for key in weights}))


def rename_modules(names):
    """A ``rename`` of :class:`Network` that goes by module.

    Args:
        names (dict[str, str]): {official module: our module}. A layer's weight,
            bias and statistics move together.

    Returns:
        Callable: From a key and its value to our key, None for a key of any other
        module, and the value.

    Example:
        >>> rename = rename_modules({'classify.1': 'decode_head.conv_seg'})
        >>> rename('classify.1.weight', 0), rename('classify.weight', 0)
        (('decode_head.conv_seg.weight', 0), (None, 0))
    """

    def rename(key, value):
        module, _, leaf = key.rpartition('.')
        return f'{names[module]}.{leaf}' if module in names else None, value

    return rename
