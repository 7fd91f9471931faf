"""Images, labels and predictions side by side on one sheet."""
import numpy as np
import torch
from mmseg.evaluation.metrics import IoUMetric
from PIL import Image, ImageDraw

from fastsegformer_mm.utils.background import AUTO, background_class

from .drawing import (
    FAINT,
    GAP,
    INK,
    PAPER,
    fit,
    tint,
    vivid,
    write,
)
from .fonts import drawable_names


def pick_samples(class_counts, num, background=None):
    """Choose samples that show every class, the same ones every time.

    One after the other the sample is taken whose classes have been shown least,
    the first of equals; pixels of the background count for nothing.

    Args:
        class_counts (Sequence[Sequence[int]]): Label pixels per class of every
            sample.
        num (int): How many to choose at most.
        background (int, optional): Index of the class that is not looked for.
            Default: None.

    Returns:
        list[int]: Indices, ascending.

    Example:
        >>> pick_samples([[9, 0, 0], [5, 4, 0], [5, 3, 0], [8, 0, 1]], 2, 0)
        [1, 3]
    """
    present = np.asarray(class_counts) > 0
    if background is not None:
        present[:, background] = False
    shown = np.zeros(present.shape[1])
    left, chosen = list(range(len(present))), []
    while left and len(chosen) < num:
        gains = [(present[k] / (1.0 + shown)).sum() for k in left]
        best = left.pop(int(np.argmax(gains)))
        shown += present[best]
        chosen.append(best)
    return sorted(chosen)


def overlay_sheet(images,
                  labels,
                  predictions,
                  classes,
                  palette,
                  names=None,
                  tile=224,
                  opacity=0.35,
                  background=AUTO,
                  ignore_index=255,
                  title=None):
    """Draw one row a sample: image, label, prediction; then a legend.

    Classes are tinted and outlined, so that a defect of a few pixels can be seen.
    Below a row stand the IoU of each class that the label or the prediction
    contains and their mean; in the legend each class's share of all pixels. The
    label column is left out when no sample has a label.

    Args:
        images (Sequence[np.ndarray]): uint8 RGB, each (H, W, 3).
        labels (Sequence[np.ndarray | None] | None): Class indices, each (H, W).
        predictions (Sequence[np.ndarray]): Class indices, each (H, W).
        classes (Sequence[str]): Class names.
        palette (Sequence[Sequence[int]]): RGB of each class, 0 to 255; drawn at
            full brightness.
        names (Sequence[str], optional): What the samples are called.
        tile (int): Longer side of a picture on the sheet in pixels, at least 64.
            Default: 224.
        opacity (float): Of the tint, between 0 and 1. Default: 0.35.
        background (str | int | None): Class that is neither tinted nor outlined, by
            name or index; None for none. Default: 'auto', the one with a known name.
        ignore_index (int): Label value that belongs to no class. Default: 255.
        title (str, optional): First line of the sheet.

    Returns:
        np.ndarray: uint8 RGB.

    Raises:
        ValueError: If there are no samples, their numbers or sizes differ, or an
            argument is out of range.

    Example:
        >>> import numpy as np
        >>> image = np.zeros((32, 32, 3), np.uint8)
        >>> label = np.zeros((32, 32), int)
        >>> sheet = overlay_sheet([image], [label], [label], ['sound', 'ulcer'],
        ...                       [(0, 0, 0), (0, 128, 0)], tile=64)
        >>> sheet.shape[2], sheet.dtype
        (3, dtype('uint8'))
    """
    labels = [None] * len(images) if labels is None else labels
    names = [''] * len(images) if names is None else names
    _check(images, labels, predictions, names, classes, palette, tile, opacity)
    background = background_class(classes, background)
    classes = drawable_names(classes)
    colours = vivid(palette)
    columns = ['image', 'label', 'prediction']
    if all(label is None for label in labels):
        columns.remove('label')

    text = max(round(tile / 18), 9)
    line = round(1.5 * text)
    width = GAP + len(columns) * (tile + GAP)
    top = GAP + line * (2 if title else 1)
    tiles = [fit(image, tile) for image in images]
    heights = [picture.shape[0] for picture in tiles]
    row_ends = np.cumsum([h + line + GAP for h in heights])
    legend = _legend_lines(labels, predictions, classes)
    sheet = Image.new(
        'RGB', (width, int(top + row_ends[-1] + line * (len(legend) + 1) + GAP)),
        PAPER)
    pen = ImageDraw.Draw(sheet)
    if title:
        write(pen, (GAP, GAP // 2), title, text, width - GAP, bold=True)
    for k, column in enumerate(columns):
        write(pen, (GAP + k * (tile + GAP), top - line), column, text, tile)

    y = top
    for picture, label, prediction, name in zip(tiles, labels, predictions, names):
        cells = {'image': picture}
        for column, index in (('label', label), ('prediction', prediction)):
            if index is not None:
                cells[column] = tint(
                    picture, index, colours, background, opacity)
        for k, column in enumerate(columns):
            if column in cells:
                x = GAP + k * (tile + GAP)
                sheet.paste(Image.fromarray(cells[column]), (x, y))
            else:
                write(pen, (GAP + k * (tile + GAP), y), 'no label', text, tile, FAINT)
        caption = name
        if label is not None:
            scores = _scores(prediction, label, classes, ignore_index)
            caption = f'{name}  {scores}' if name else scores
        write(pen, (GAP, y + picture.shape[0]), caption, text, width - GAP, FAINT)
        y += picture.shape[0] + line + GAP

    write(pen, (GAP, y), 'share of pixels', text, width - GAP, bold=True)
    for k, entry in enumerate(legend):
        y += line
        box = (GAP, y + line // 5, GAP + line, y + line)
        pen.rectangle(
            box, fill=PAPER if k == background else colours[k], outline=INK)
        write(pen, (GAP + round(1.5 * line), y), entry, text,
               width - GAP - round(1.5 * line))
    return np.asarray(sheet)


def _check(images, labels, predictions, names, classes, palette, tile, opacity):
    counts = len(images), len(labels), len(predictions), len(names)
    if len(set(counts)) != 1 or not counts[0]:
        raise ValueError(
            'expected as many labels, predictions and names as images, and at least '
            f'one; got {counts[1]}, {counts[2]}, {counts[3]} and {counts[0]} images')
    if len(classes) != len(palette):
        raise ValueError(
            f'{len(classes)} class names but {len(palette)} colours: expected one '
            'colour a class')
    if tile < 64 or not 0 <= opacity <= 1:
        raise ValueError(
            f'tile is {tile} pixels and opacity {opacity}: expected a tile of 64 or '
            'more and an opacity between 0 and 1')
    for k, image in enumerate(images):
        for what, index in (('label', labels[k]), ('prediction', predictions[k])):
            if index is not None and index.shape != image.shape[:2]:
                raise ValueError(
                    f'{what} {k} ({names[k]}) has shape {index.shape}: expected '
                    f'{image.shape[:2]}, the size of its image')


def _areas(prediction, label, num_classes, ignore_index):
    return [area.numpy() for area in IoUMetric.intersect_and_union(
        torch.as_tensor(np.asarray(prediction, np.int64)),
        torch.as_tensor(np.asarray(label, np.int64)), num_classes, ignore_index)]


def _scores(prediction, label, classes, ignore_index):
    """Caption with the IoU of the classes that occur."""
    intersect, union, _, _ = _areas(prediction, label, len(classes), ignore_index)
    found = np.flatnonzero(union > 0)
    if not found.size:
        return 'no labelled pixels'
    ious = 100 * intersect[found] / union[found]
    parts = [f'{classes[k]} {iou:.0f}' for k, iou in zip(found, ious)]
    return f'mIoU {ious.mean():.1f} % ({", ".join(parts)})'


def _legend_lines(labels, predictions, classes):
    known = [label for label in labels if label is not None]
    lines = []
    for k, name in enumerate(classes):
        parts = []
        for title, maps in (('label', known), ('prediction', predictions)):
            if maps:
                pixels = sum(int((index == k).sum()) for index in maps)
                share = 100 * pixels / sum(index.size for index in maps)
                parts.append(f'{title} {share:.2f} %')
        lines.append(f'{name}:  {",  ".join(parts)}')
    return lines
