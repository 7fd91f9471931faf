"""Checkpoints in the safetensors format, which holds tensors and texts alone."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from .contents import AGAIN
from .errors import CheckpointError


def read_safetensors(path: Path, name: str, map_location='cpu') -> dict:
    """Read weights and what is known of them.

    Args:
        path (Path): The file.
        name (str): What it is called in messages: its path or URL.
        map_location (str | torch.device | Callable, optional): As for
            ``torch.load``. Defaults to 'cpu'.

    Returns:
        dict: ``state_dict``, and ``meta``: the file's texts, decoded where they are
        JSON; the classes as a tuple, as data sets give them.

    Raises:
        CheckpointError: The file is truncated, or of another format.
    """
    try:
        with safe_open(path, framework='pt') as file:
            meta = {k: _decoded(v) for k, v in (file.metadata() or {}).items()}
            names = file.keys()
            tensors = {k: file.get_tensor(k) for k in names}
    except SafetensorError as error:
        raise CheckpointError(
            f'checkpoint {name!r} is no whole safetensors file ({error}; '
            f'{path.stat().st_size:,} bytes): it is truncated or of another format; '
            f'{AGAIN}'
        ) from error
    known = meta.get('dataset_meta')
    if isinstance(known, dict) and isinstance(known.get('classes'), list):
        known['classes'] = tuple(known['classes'])
    if callable(map_location):
        # as torch.load asks it, a storage at a time
        tensors = {k: _mapped(v, map_location) for k, v in tensors.items()}
    elif isinstance(map_location, dict):
        tensors = {k: v.to(map_location.get('cpu', 'cpu')) for k, v in tensors.items()}
    elif map_location is not None:
        tensors = {k: v.to(map_location) for k, v in tensors.items()}
    return dict(state_dict=tensors, meta=meta)


def safetensors_bytes(state_dict: dict, meta: dict) -> bytes:
    """The content of a safetensors file.

    Args:
        state_dict (dict[str, Tensor]): The weights.
        meta (dict): What is known of them; each value is stored as JSON.

    Raises:
        TypeError: A weight is no tensor.
    """
    for key, value in state_dict.items():
        if not isinstance(value, torch.Tensor):
            raise TypeError(
                f'{key!r} is a {type(value).__name__}; safetensors holds tensors alone'
            )
    texts = {k: json.dumps(v, default=_plain) for k, v in meta.items()}
    # each with memory of its own: the format stores no shared one
    tensors = {k: v.detach().cpu().clone().contiguous() for k, v in state_dict.items()}
    return save(tensors, dict(texts, format='pt'))


def _decoded(text):
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _plain(value):
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def _mapped(tensor, map_location):
    storage = map_location(tensor.untyped_storage(), 'cpu')
    return tensor if storage is None else tensor.to(storage.device)
