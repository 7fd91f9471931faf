"""Reading of official checkpoints: the weights, out of what they are wrapped in."""

import re
from collections import OrderedDict

import torch

from fastsegformer_mm.engine.checkpoint import read_checkpoint
from fastsegformer_mm.engine.checkpoint.contents import some

# What an ImageNet classifier has beyond the backbone, and the integer buffers
# of the official attention, which its constructor makes anew.
NOT_BACKBONE = re.compile(r'^(norm|head|dist_head)\.|(^|\.)attention_bias_idxs$')


def read_official(path, map_location='cpu'):
    """Read the weights of a network or backbone, out of whatever they are wrapped in.

    Args:
        path (str | Path): A file or URL that holds a dict of tensors, bare, under
            ``'state_dict'`` or under ``'model'``; its keys may have the prefix
            ``module.`` that DataParallel gives.
        map_location (str): Where the tensors go. Defaults to ``'cpu'``.

    Returns:
        OrderedDict[str, Tensor]: The weights, without that prefix.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not one of tensors alone, or not a dict of them.

    Example:
        >>> weights = {'model': {'module.head.bias': torch.ones(2)}}
        >>> torch.save(weights, '/tmp/official.pth')
        >>> read_official('/tmp/official.pth')
        OrderedDict([('head.bias', tensor([1., 1.]))])
    """
    content = weights = read_checkpoint(path, map_location)
    if isinstance(content, dict):
        for wrapping in ('state_dict', 'model'):
            if isinstance(content.get(wrapping), dict):
                weights = content[wrapping]
                break
    if (
        not isinstance(weights, dict)
        or not weights
        or not all(isinstance(v, torch.Tensor) for v in weights.values())
    ):
        found = (
            f'a dict with the keys {some(content)}'
            if isinstance(content, dict)
            else f'a {type(content).__name__}'
        )
        raise ValueError(
            f'checkpoint {str(path)!r} holds {found}; expected a dict of tensors, '
            "bare or under 'state_dict' or 'model'"
        )
    return OrderedDict((k.removeprefix('module.'), v) for k, v in weights.items())


def load_official_backbone(path, prefix=None, map_location='cpu'):
    """Read a backbone's weights from an official ImageNet checkpoint.

    Args:
        path (str | Path): A file or URL. It holds the weights bare, under
            ``'state_dict'`` or under ``'model'``.
        prefix (str, optional): Take only the keys under this prefix, and strip
            it: ``'backbone'`` for a segmentor's checkpoint. Defaults to None.
        map_location (str): Where the tensors go. Defaults to ``'cpu'``.

    Returns:
        OrderedDict[str, Tensor]: Without the classifier (``norm``, ``head``,
        ``dist_head``) and without the integer buffers of the attention.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not one of weights, or has no key under
            ``prefix``.

    Example:
        >>> weights = {'patch_embed.0.bias': torch.ones(2), 'head.bias': torch.ones(9)}
        >>> torch.save({'model': weights}, '/tmp/official.pth')
        >>> load_official_backbone('/tmp/official.pth')
        OrderedDict([('patch_embed.0.bias', tensor([1., 1.]))])
    """
    weights = read_official(path, map_location)
    if prefix:
        start = prefix.rstrip('.') + '.'
        keys = [k for k in weights if k.startswith(start)]
        if not keys:
            tops = sorted({k.split('.')[0] for k in weights})
            raise ValueError(
                f'checkpoint {str(path)!r} has no key under the prefix {start!r}; '
                f'its keys begin with {some(tops)}'
            )
        weights = OrderedDict((k[len(start) :], weights[k]) for k in keys)
    return OrderedDict((k, v) for k, v in weights.items() if not NOT_BACKBONE.search(k))
