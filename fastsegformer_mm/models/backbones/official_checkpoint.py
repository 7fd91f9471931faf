"""Reading of official checkpoints, and loading that leaves nothing unnoticed.

MMEngine's loader may fall back to ``weights_only=False``, which runs whatever
code a file holds, and it only logs a warning when no key fits. Both are
replaced here.
"""

import re
from collections import OrderedDict
from pathlib import Path

import torch
from mmengine.dist import barrier, get_dist_info

from fastsegformer_mm.engine.safe_globals import allow_mmengine_checkpoints

# What an ImageNet classifier has beyond the backbone, and the integer buffers
# of the official attention, which its constructor makes anew.
NOT_BACKBONE = re.compile(r'^(norm|head|dist_head)\.|(^|\.)attention_bias_idxs$')


def read_weights(path, map_location='cpu'):
    """Load a checkpoint file or URL without running any code from it.

    Args:
        path (str | Path): A file, or an ``http(s)://`` URL (downloaded once,
            into PyTorch's hub cache).
        map_location (str): Where the tensors go. Defaults to ``'cpu'``.

    Returns:
        The file's content as it is: nothing is unwrapped.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file cannot be read with ``weights_only=True``.

    Example:
        >>> torch.save({'w': torch.ones(2)}, '/tmp/weights.pth')
        >>> read_weights('/tmp/weights.pth')
        {'w': tensor([1., 1.])}
    """
    path = str(path)
    if path.startswith(('http://', 'https://')):
        # one process downloads, the others then find the file in the cache
        rank, world_size = get_dist_info()
        if rank == 0:
            weights = _torch_load(_download, path, map_location)
        if world_size > 1:
            barrier()
        if rank > 0:
            weights = _torch_load(_download, path, map_location)
        return weights
    if not Path(path).is_file():
        raise FileNotFoundError(
            f'checkpoint {path!r} does not exist: give the path of a file or an '
            'http(s):// URL'
        )
    return _torch_load(torch.load, path, map_location)


def _download(url, **kwargs):
    return torch.hub.load_state_dict_from_url(url, progress=False, **kwargs)


def _torch_load(load, path, map_location):
    # again, because OneDL's MMEngine takes them away after each of its own loads
    allow_mmengine_checkpoints()
    try:
        return load(path, map_location=map_location, weights_only=True)
    except OSError as error:
        raise ValueError(
            f'checkpoint {path!r} cannot be read or downloaded ({error}): give the '
            'path of a readable file or a URL that this machine can reach'
        ) from error
    except Exception as error:  # torch.load raises many types on a foreign file
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f'checkpoint {path!r} is not a file of tensors alone '
            f'(torch.load(..., weights_only=True): {reason[0]}). Loading it '
            'otherwise could run code from it. If you trust its source, save its '
            'weights alone and use that file: torch.save(torch.load(path, '
            "map_location='cpu', weights_only=False)['state_dict'], "
            "'weights.pth')"
        ) from error


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
    content = weights = read_weights(path, map_location)
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
            f'a dict with the keys {_some(content)}'
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
                f'its keys begin with {_some(tops)}'
            )
        weights = OrderedDict((k[len(start) :], weights[k]) for k in keys)
    return OrderedDict((k, v) for k, v in weights.items() if not NOT_BACKBONE.search(k))


def load_all_or_raise(module, weights, path, optional=()):
    """Load ``weights`` into ``module``, or say everything that does not fit.

    Args:
        module (nn.Module): Receives the weights; untouched when this raises.
        weights (dict[str, Tensor]): Under the module's own keys.
        path (str | Path): Where they come from, for the message.
        optional (Collection[str]): Keys of the module that the file may lack.
            ``num_batches_tracked`` may always be absent.

    Raises:
        ValueError: Lists missing, unexpected and mismatched keys.

    Example:
        >>> norm = torch.nn.BatchNorm2d(2)
        >>> load_all_or_raise(norm, {'weight': torch.ones(2)}, 'norm.pth')
        Traceback (most recent call last):
        ValueError: checkpoint 'norm.pth' does not fit BatchNorm2d: ...
    """
    own = module.state_dict()
    missing = [
        k
        for k in own
        if k not in weights
        and k not in optional
        and not k.endswith('num_batches_tracked')
    ]
    unexpected = [k for k in weights if k not in own]
    mismatched = [
        f'{k} {tuple(weights[k].shape)} instead of {tuple(own[k].shape)}'
        for k in own
        if k in weights and weights[k].shape != own[k].shape
    ]
    problems = [
        f'{len(keys)} {name}: {_some(keys)}'
        for name, keys in (
            ('missing', missing),
            ('unexpected', unexpected),
            ('mismatched', mismatched),
        )
        if keys
    ]
    if problems:
        raise ValueError(
            f'checkpoint {str(path)!r} does not fit {type(module).__name__}: '
            + '; '.join(problems)
            + '. Nothing was loaded. Give the file of the same architecture, and '
            "the `prefix` of the backbone's keys if they have one"
        )
    module.load_state_dict(weights, strict=False)


def _some(keys, limit=10):
    """The first few of many keys, and how many more there are."""
    keys = list(keys)
    rest = f' and {len(keys) - limit} more' if len(keys) > limit else ''
    return ', '.join(str(k) for k in keys[:limit]) + rest
