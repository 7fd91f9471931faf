"""What there is of each class in a mask."""

from dataclasses import dataclass

import cv2
import numpy as np

from ..model_card import ModelCard


@dataclass(frozen=True)
class ClassFigures:
    """A class in one frame.

    Args:
        pixels (int): Of the class.
        share (float): Of the frame's pixels, 0 to 1.
        part_share (float, optional): Share of the fruit's or part's pixels that are
            of the class. Defaults to None: no mask of the part is known.
        regions (int): Connected regions, also over corners.
        largest (int): Pixels of the largest one.
        boxes (tuple): Bounding boxes (left, top, width, height) in pixels, that of
            the largest region first.
    """

    pixels: int = 0
    share: float = 0.0
    part_share: float | None = None
    regions: int = 0
    largest: int = 0
    boxes: tuple[tuple[int, int, int, int], ...] = ()


def defect_classes(card: ModelCard) -> dict[str, int]:
    """Index by name of the classes that are measured: all but the background."""
    background = card.background_index
    return {name: k for k, name in enumerate(card.classes) if k != background}


def measure(
    mask: np.ndarray,
    card: ModelCard,
    part: np.ndarray | None = None,
    min_region: int = 1,
    max_boxes: int = 100,
) -> dict[str, ClassFigures]:
    """Figures of every class but the background.

    Args:
        mask (np.ndarray): Class indices, uint8 of (H, W).
        card (ModelCard): Of the model whose mask it is.
        part (np.ndarray, optional): Of the same size, not 0 where the fruit or part
            is. Defaults to None, not known.
        min_region (int): Regions of fewer pixels are not counted as such; their
            pixels are. Defaults to 1, all count.
        max_boxes (int): Boxes of a class at most, those of the largest regions.
            Defaults to 100.

    Returns:
        dict[str, ClassFigures]: By class name, in the order of the card.

    Example:
        >>> card = ModelCard('m', ('background', 'rust'), ((0, 0, 0), (9, 9, 9)),
        ...                  (4, 4))
        >>> mask = np.array([[1, 1, 0, 0], [0, 0, 0, 1]], np.uint8)
        >>> measure(mask, card)['rust'].boxes
        ((0, 0, 2, 1), (3, 1, 1, 1))
    """
    # NumPy compares: OpenCV takes an array of one pixel for a number
    inside = None if part is None else part != 0
    area = None if inside is None else int(inside.sum())
    present = cv2.calcHist([mask], [0], None, [256], [0, 256]).ravel() > 0
    found = {}
    for name, index in defect_classes(card).items():
        part_share = None if area is None else 0.0
        if not present[index]:
            found[name] = ClassFigures(part_share=part_share)
            continue
        plane = (mask == index).view(np.uint8)
        pixels = cv2.countNonZero(plane)
        if area:
            part_share = int(inside[plane.view(bool)].sum()) / area
        regions, largest, boxes = _regions(plane, min_region, max_boxes)
        found[name] = ClassFigures(
            pixels, pixels / mask.size, part_share, regions, largest, boxes
        )
    return found


def _regions(plane, min_region, max_boxes):
    """Number, pixels of the largest, and boxes of the connected regions."""
    # most of the time goes into writing labels: only where the class is
    left, top, width, height = cv2.boundingRect(plane)
    crop = plane[top : top + height, left : left + width]
    # regions that touch nowhere need every second row and column
    most = ((width + 1) // 2) * ((height + 1) // 2)
    _, _, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(
        crop, 8, cv2.CV_16U if most < 2**16 - 1 else cv2.CV_32S, cv2.CCL_DEFAULT
    )
    stats = stats[1:]
    areas = stats[:, cv2.CC_STAT_AREA]
    stats, areas = stats[areas >= min_region], areas[areas >= min_region]
    if not len(stats):
        return 0, 0, ()
    order = np.argsort(-areas, kind='stable')[:max_boxes]
    boxes = stats[order, :4] + np.array([left, top, 0, 0])
    return len(stats), int(areas.max()), tuple(map(tuple, boxes.tolist()))
