"""Batches as tensors, numbers, texts and plain containers.

``torch.load(weights_only=True)`` reads these without being allowed anything else.
"""

from collections.abc import Mapping

import numpy as np
import torch
from mmengine.structures import (
    BaseDataElement,
    InstanceData,
    LabelData,
    PixelData,
)
from mmseg.structures import SegDataSample

ELEMENTS = {
    element.__name__: element
    for element in (
        SegDataSample,
        PixelData,
        InstanceData,
        LabelData,
        BaseDataElement,
    )
}
KEY = '__element__'


def to_plain(value):
    """A copy of a batch, in plain containers, its tensors on the CPU.

    Args:
        value: Nested dicts and sequences of tensors, arrays, MMEngine's data
            elements, numbers and texts. What is none of these becomes its ``str``.

    Returns:
        A data element is a dict of its class's name, its metainfo and its data.
    """
    if isinstance(value, torch.Tensor):
        # a copy: a view would be saved with all that it is a view of
        return value.detach().to('cpu', copy=True)
    if isinstance(value, BaseDataElement):
        return {
            KEY: type(value).__name__,
            'metainfo': to_plain(value.metainfo),
            'data': {name: to_plain(item) for name, item in value.items()},
        }
    if isinstance(value, Mapping):
        return {
            k if isinstance(k, int) else str(k): to_plain(v) for k, v in value.items()
        }
    if isinstance(value, list | tuple):
        items = [to_plain(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind in 'biufc' and isinstance(value, np.ndarray):
            return torch.from_numpy(np.array(value))
        return to_plain(value.tolist())
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def from_plain(value):
    """What :func:`to_plain` was given, as far as a network looks at it.

    Raises:
        ValueError: A data element is of a class that is not in ``ELEMENTS``.
    """
    if isinstance(value, dict) and KEY in value:
        name = value[KEY]
        if name not in ELEMENTS:
            raise ValueError(
                f'the batch has a data element of class {name!r}; expected one of '
                f'{", ".join(ELEMENTS)}: add it to '
                'fastsegformer_mm.engine.non_finite.plain_data.ELEMENTS'
            )
        element = ELEMENTS[name](metainfo=value['metainfo'])
        for field, item in value['data'].items():
            setattr(element, field, from_plain(item))
        return element
    if isinstance(value, dict):
        return {k: from_plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(from_plain(item) for item in value)
    return value
