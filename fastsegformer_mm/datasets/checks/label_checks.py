"""What is wrong with one label, as its file is and as the loader gives it."""
import shlex
from collections.abc import Iterator

import numpy as np

from .image_checks import Finding, RawFile
from .sources import Source

CONVERTER = 'python tools/dataset_converters/color_masks_to_index.py'


def check_label(raw: RawFile, loaded: np.ndarray, image_size: tuple | None,
                source: Source, count: int, ignore: int) -> Iterator[Finding]:
    """What of a label would crash a training or spoil its score.

    Args:
        raw (RawFile): The file.
        loaded (np.ndarray): What the pipeline's LoadAnnotations makes of it, after
            ``reduce_zero_label`` and ``label_map``.
        image_size (tuple[int, int], optional): Height and width of the image as
            loaded; None where that is told otherwise.
        source (Source): The data set.
        count (int): Number of classes.
        ignore (int): The value that is no class and does not count.

    Yields:
        tuple: Kind, severity, value, expected, way out.
    """
    if loaded.ndim < 2:
        yield ('label-one-pixel-wide', 'error',
               f'{_by(raw.size)}, loaded with the shape {loaded.shape}',
               '2 or more pixels in height and width', 'take the pair out of the '
               'split: LoadAnnotations drops sides of one pixel')
        return
    if loaded.ndim != 2:
        yield _colours(raw, loaded, source, count)
        return
    if raw.format == 'JPEG':
        yield ('label-jpeg', 'error', 'a JPEG, which changes values at every edge',
               'a PNG', 'export the labels as PNG')
    if raw.bits > 8:
        highest = int(np.asarray(raw.picture).max())
        if highest > 255:
            yield ('label-16-bit', 'error',
                   f'16-bit value {highest}, loaded as {highest % 256}',
                   f'8-bit values, 0 to {count - 1} or {ignore}',
                   'save the labels with 8 bits, one value a class')
    if image_size is not None and loaded.shape != tuple(image_size):
        yield ('size-differs', 'error',
               f'{_by(loaded.shape)}', f"{_by(image_size)}, the image's",
               'export the label again at the size of its image; MMSegmentation '
               'stretches or cuts it without a word')
    pixels = value_counts(loaded)
    wrong = [v for v in np.flatnonzero(pixels) if v >= count and v != ignore]
    if wrong:
        yield _out_of_range(pixels, wrong, source, count, ignore)
    elif pixels[ignore:ignore + 1].sum() == loaded.size:
        yield ('label-all-ignored', 'warning',
               f'all {loaded.size} pixels are {ignore}', 'pixels of a class',
               'label it, or take it out of the split')
    if raw.mode == 'P' and not wrong:
        yield from _palette_order(raw, pixels, source)


def value_counts(loaded: np.ndarray) -> np.ndarray:
    """Pixels of each value, int64, of shape (256, )."""
    return np.bincount(loaded.ravel(), minlength=256)


def _by(size: tuple) -> str:
    return 'x'.join(str(n) for n in size)


def _colours(raw: RawFile, loaded: np.ndarray, source: Source,
             count: int) -> Finding:
    shape = _by(loaded.shape)
    backend = (source.label_step or {}).get('imdecode_backend', 'pillow')
    expected = 'one class index a pixel (HxW)'
    if raw.mode == 'P':
        return ('label-is-colours', 'error',
                f"palette PNG, imdecode_backend='{backend}' loads its colours "
                f'({shape})', expected,
                "set imdecode_backend='pillow' in LoadAnnotations")
    first = loaded[..., :1]
    grey = loaded.shape[2] >= 3 and bool((loaded[..., :3] == first).all())
    if grey and int(first.max()) < count:
        # indices in three equal channels
        colors = '--colors ' + ' '.join(f'{k},{k},{k}' for k in range(count))
    else:
        colors = _colors_option(source)
    folder = (source.label_folder or '.').rstrip('/')
    command = (f'{CONVERTER} {shlex.quote(folder)} {shlex.quote(folder + "_index")} '
               f'{colors}')
    return ('label-is-colours', 'error',
            f'{raw.mode or "colour"} mask, loaded as {shape}', expected,
            f'{command} and set {source.where}.data_prefix.seg_map_path to '
            f'{folder}_index')


def _colors_option(source: Source) -> str:
    """The converter's option that names the colours of the classes."""
    if source.own_palette:
        return f'--palette-from {source.name}'
    return '--colors ' + ' '.join(
        ','.join(str(c) for c in color) for color in source.palette)


def _out_of_range(pixels: np.ndarray, wrong: list, source: Source, count: int,
                  ignore: int) -> Finding:
    total = pixels.sum()
    shown = ', '.join(f'{v} ({_share(pixels[v], total)})' for v in wrong[:8])
    more = f' and {len(wrong) - 8} more values' if len(wrong) > 8 else ''
    way_out = (f'correct the labels, or name all classes in {source.where}.metainfo '
               'and set num_classes of the heads')
    if wrong == [count] and not pixels[0] and not source.reduce_zero_label:
        way_out = (f'the labels seem to count from 1: set '
                   f'{source.where}.reduce_zero_label=True, or convert them')
    elif wrong == [255]:
        way_out = (f'set ignore_index=255, not {ignore}, in the heads and the data '
                   'set: 255 is what MMSegmentation writes for "ignored"')
    elif len(wrong) > 8 or (count == 2 and len(wrong) == 1):
        way_out = (f'if these are grey levels as colours: {CONVERTER} '
                   f'{shlex.quote(source.label_folder or ".")} NEW --colors with the '
                   'grey of each class as g,g,g; else ' + way_out)
    return ('label-out-of-range', 'error', f'values {shown}{more} of the pixels',
            f'0 to {count - 1}, or {ignore} for ignored', way_out)


def _share(part: int, total: int) -> str:
    share = 100 * part / total
    return f'{share:.1f} %' if share >= .1 else f'{part} px'


def _palette_order(raw: RawFile, pixels: np.ndarray,
                   source: Source) -> Iterator[Finding]:
    """Indices whose colour in the file is that of another class."""
    if source.label_map or source.reduce_zero_label:
        return  # the values are no longer those of the file
    flat = raw.picture.getpalette() or []
    classes = {tuple(color): k for k, color in enumerate(source.palette)}
    for value in np.flatnonzero(pixels[:len(source.palette)]):
        color = tuple(flat[3 * value:3 * value + 3])
        meant = classes.get(color)
        if meant is not None and meant != value and (
                color != tuple(source.palette[value])):
            names = source.classes
            yield ('palette-order', 'warning',
                   f'index {value} ({names[value]}) has the colour of {names[meant]} '
                   f'in the palette of the file, {",".join(map(str, color))}',
                   f'index {meant} for that colour',
                   f'if the colours are right: {CONVERTER} '
                   f'{shlex.quote(source.label_folder or ".")} NEW '
                   f'{_colors_option(source)} --trust colors')
            return
