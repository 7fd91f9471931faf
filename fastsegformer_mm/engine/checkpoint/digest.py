"""Whether two checkpoints hold the same weights."""

import hashlib

import torch


def weights_digest(state_dict: dict) -> str:
    """SHA-256 over names, types, shapes and bytes of a state dict.

    Unlike the hash of a file it does not depend on when or where the file was
    written.

    Args:
        state_dict (dict[str, Tensor]): Its order makes no difference.

    Returns:
        str: 64 hexadecimal digits.

    Example:
        >>> weights_digest({'w': torch.zeros(2)})[:16]
        'c54171aeb4bdcd92'
    """
    digest = hashlib.sha256()
    for name in sorted(state_dict):
        tensor = state_dict[name].detach().cpu().contiguous()
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}\n'.encode())
        # a scalar has no bytes to view, and NumPy does not know every dtype
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def weights_difference(first: dict, second: dict) -> dict:
    """What sets two state dicts apart.

    Args:
        first (dict[str, Tensor]): One.
        second (dict[str, Tensor]): The other.

    Returns:
        dict: ``missing``: names that one of them lacks; ``shapes``: names whose
        shapes differ; ``values``: names whose values differ, with the largest
        absolute difference (NaN where both are NaN counts as equal).

    Example:
        >>> weights_difference({'w': torch.zeros(2)}, {'w': torch.tensor([0.0, 0.5])})
        {'missing': [], 'shapes': [], 'values': {'w': 0.5}}
    """
    common = [name for name in first if name in second]
    shapes = [n for n in common if first[n].shape != second[n].shape]
    values = {}
    for name in common:
        a, b = first[name], second[name]
        if name in shapes or torch.equal(a, b):
            continue
        gap = (a.double() - b.double()).abs()
        gap[a.isnan() & b.isnan()] = 0.0
        if gap.max() != 0:
            values[name] = gap.max().item()
    return dict(
        missing=sorted(first.keys() ^ second.keys()), shapes=shapes, values=values
    )
