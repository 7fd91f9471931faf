"""The window that SEKD-SU hides."""

import torch
from torch import Tensor


def check_ratio(ratio: float) -> None:
    """Refuse a share of a map's sides that is none.

    Raises:
        ValueError: ``ratio`` is not in [0, 1].
    """
    if not 0 <= ratio <= 1:
        raise ValueError(
            f'mask_ratio must be in [0, 1], a share of height and width, got {ratio}'
        )


def hide_window(feature: Tensor, ratio: float, per_sample: bool = False) -> Tensor:
    """Zero a window at a random place of a map.

    The place is uniform over all that keep the window inside. It is drawn from
    torch's generator of the CPU, wherever the map is: a GPU hides the same window,
    the seed of a training makes it reproducible, and a resumed training goes on
    with it.

    Args:
        feature (Tensor): (N, C, H, W).
        ratio (float): Of the window's height to the map's, and of their widths;
            rounded down to whole pixels, one at least. 0 hides nothing and draws
            nothing.
        per_sample (bool): A window for each image, and not one for the batch.
            Defaults to False.

    Returns:
        Tensor: (N, C, H, W), a new one; no gradient passes the window.

    Example:
        >>> hidden = hide_window(torch.ones(2, 8, 10, 20), ratio=0.3)
        >>> int((hidden == 0).sum()) == 2 * 8 * 3 * 6
        True
    """
    if ratio == 0:
        return feature
    inside = []
    for side in feature.shape[2:]:
        length = max(1, int(ratio * side))
        first = torch.randint(
            side - length + 1, (len(feature) if per_sample else 1, 1), device='cpu'
        )
        place = torch.arange(side, device='cpu')
        inside.append((place >= first) & (place < first + length))
    rows, columns = (i.to(feature.device) for i in inside)
    return feature.masked_fill(rows[:, None, :, None] & columns[:, None, None, :], 0)
