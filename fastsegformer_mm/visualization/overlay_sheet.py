"""Images, labels and predictions side by side on one sheet."""
import functools
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import torch
from mmseg.evaluation.metrics import IoUMetric
from PIL import Image, ImageDraw, ImageFont

GAP = 8
INK = (32, 32, 32)
PAPER = (255, 255, 255)
FAINT = (110, 110, 110)


@functools.lru_cache
def _font(size, bold=False):
    # the font that matplotlib brings along is there on every machine
    name = 'DejaVuSans-Bold.ttf' if bold else 'DejaVuSans.ttf'
    folder = Path(matplotlib.get_data_path()) / 'fonts' / 'ttf'
    return ImageFont.truetype(str(folder / name), size)


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


def vivid(palette):
    """Colours of full brightness and the same hue, to stand out from a photograph.

    Example:
        >>> vivid([(0, 0, 0), (128, 64, 0)])
        [(0, 0, 0), (255, 128, 0)]
    """
    return [
        tuple(round(255 * int(c) / max(*map(int, colour), 1)) for c in colour)
        for colour in palette
    ]


def overlay_sheet(images,
                  labels,
                  predictions,
                  classes,
                  palette,
                  names=None,
                  tile=224,
                  opacity=0.35,
                  background='auto',
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
        background (int | None | 'auto'): Class that is neither tinted nor
            outlined. Default: 'auto', the one named "background" if there is one.
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
    if background == 'auto':
        lowered = [str(name).lower() for name in classes]
        background = lowered.index('background') if 'background' in lowered else None
    colours = vivid(palette)
    columns = ['image', 'label', 'prediction']
    if all(label is None for label in labels):
        columns.remove('label')

    text = max(round(tile / 18), 9)
    line = round(1.5 * text)
    width = GAP + len(columns) * (tile + GAP)
    top = GAP + line * (2 if title else 1)
    tiles = [_fit(image, tile) for image in images]
    heights = [picture.shape[0] for picture in tiles]
    row_ends = np.cumsum([h + line + GAP for h in heights])
    legend = _legend_lines(labels, predictions, classes)
    sheet = Image.new(
        'RGB', (width, int(top + row_ends[-1] + line * (len(legend) + 1) + GAP)),
        PAPER)
    pen = ImageDraw.Draw(sheet)
    if title:
        _write(pen, (GAP, GAP // 2), title, text, width - GAP, bold=True)
    for k, column in enumerate(columns):
        _write(pen, (GAP + k * (tile + GAP), top - line), column, text, tile)

    y = top
    for picture, label, prediction, name in zip(tiles, labels, predictions, names):
        cells = {'image': picture}
        for column, index in (('label', label), ('prediction', prediction)):
            if index is not None:
                cells[column] = _tint(
                    picture, index, colours, background, opacity)
        for k, column in enumerate(columns):
            if column in cells:
                x = GAP + k * (tile + GAP)
                sheet.paste(Image.fromarray(cells[column]), (x, y))
            else:
                _write(pen, (GAP + k * (tile + GAP), y), 'no label', text, tile, FAINT)
        caption = name
        if label is not None:
            scores = _scores(prediction, label, classes, ignore_index)
            caption = f'{name}  {scores}' if name else scores
        _write(pen, (GAP, y + picture.shape[0]), caption, text, width - GAP, FAINT)
        y += picture.shape[0] + line + GAP

    _write(pen, (GAP, y), 'share of pixels', text, width - GAP, bold=True)
    for k, entry in enumerate(legend):
        y += line
        box = (GAP, y + line // 5, GAP + line, y + line)
        pen.rectangle(
            box, fill=PAPER if k == background else colours[k], outline=INK)
        _write(pen, (GAP + round(1.5 * line), y), entry, text,
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


def _fit(image, tile):
    """The image with its longer side of ``tile`` pixels."""
    scale = tile / max(image.shape[:2])
    size = tuple(max(round(scale * side), 1) for side in image.shape[1::-1])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(image, size, interpolation=how)


def _tint(picture, index, colours, background, opacity):
    """Picture with classes in semi-transparent colour and an opaque outline."""
    drawn = picture.copy()
    size = picture.shape[1::-1]
    for k, colour in enumerate(colours):
        if k == background or not (index == k).any():
            continue
        share = cv2.resize(
            (index == k).astype(np.float32), size, interpolation=cv2.INTER_AREA)
        # less than a half, or thin scars would fall apart on a small picture
        inside = share >= min(0.4, 0.9 * float(share.max()))
        blend = (1 - opacity) * picture[inside] + opacity * np.array(colour)
        drawn[inside] = np.rint(blend).astype(np.uint8)
        outlines, _ = cv2.findContours(
            inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, outlines, -1, colour, 1)
    return drawn


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


def _write(pen, where, words, size, room, colour=INK, bold=False):
    """A line of text, in smaller letters or cut when it would not fit."""
    while size > 9 and pen.textlength(words, font=_font(size, bold)) > room:
        size -= 1
    font = _font(size, bold)
    if pen.textlength(words, font=font) > room:
        while words and pen.textlength(f'{words}...', font=font) > room:
            words = words[:-1]
        words = f'{words}...'
    pen.text(where, words, fill=colour, font=font)
