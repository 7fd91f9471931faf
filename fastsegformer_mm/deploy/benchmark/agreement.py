"""How far what a runtime gives is from eager PyTorch in float32."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Agreement:
    """Of two outputs on the same frames.

    Attributes:
        frames (int): How many.
        equal_pixels (float): Share of pixels of the same class, 0 to 1.
        logit_difference (float, optional): The largest, as a share of the largest
            absolute logit. None where masks are all there is.
    """

    frames: int
    equal_pixels: float
    logit_difference: float | None = None


def agree(reference: dict, other: dict) -> Agreement:
    """Compare 'masks' (N, H, W) and, where both have them, 'logits' (N, C, h, w).

    Example:
        >>> one = dict(masks=np.array([[[0, 1, 1, 1]]]), logits=np.array([4.0, -8.0]))
        >>> two = dict(masks=np.array([[[0, 1, 1, 0]]]), logits=np.array([4.0, -8.1]))
        >>> agree(one, two)
        Agreement(frames=1, equal_pixels=0.75, logit_difference=0.0125)
    """
    masks = reference['masks'], other['masks']
    difference = None
    if 'logits' in reference and 'logits' in other:
        logits, others = reference['logits'], other['logits']
        if logits.shape == others.shape:
            largest = np.abs(logits).max()
            difference = float(np.abs(logits - others).max() / max(largest, 1e-12))
            difference = round(difference, 12)
    return Agreement(len(masks[0]), float((masks[0] == masks[1]).mean()), difference)
