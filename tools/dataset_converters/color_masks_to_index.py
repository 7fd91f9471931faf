"""Turn colour masks (RGB, RGBA, palette, grey) into index PNG with a palette.

Every mask below SRC (PNG, BMP, TIFF, JPEG, GIF) becomes a PNG of the same name
below DST, whose pixels are class indices. The classes are those of a registered
dataset (``--palette-from NavelOrangeDataset``) or given as colours, in the order of
the classes (``--colors 0,0,0 128,0,0``, or ``'#000000' '#800000'``).

* RGB, RGBA: each pixel takes the class of its colour. Fully transparent pixels
  (alpha 0) become background or, with ``--alpha ignore``, 255; the colour of all
  others counts, however transparent they are.
* Palette: the indices are kept when the mask's own palette gives the classes the
  colours asked for; if it does not, ``--trust`` says whether the ``indices`` or the
  ``colors`` are right.
* Grey and black-and-white: class indices if all values are, and are no colours of
  other classes; else colours. ``--trust`` decides where both could be meant.

A colour that is no class is an error that lists file, colour, number of pixels and
the nearest class. Masks with blurred edges or JPEG noise need ``--tolerance``.
All masks are converted before the first one is put into DST: an error leaves
nothing behind.

Examples:
    fastsegformer import-color-masks masks \
        data/navel_orange/SegmentationClass --palette-from NavelOrangeDataset
    fastsegformer import-color-masks masks \
        data/mine/SegmentationClass --colors 0,0,0 255,0,0 --tolerance 60
"""

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path

from fastsegformer_cli.quiet import quiet
from fastsegformer_cli.signals import run_tool


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('src', help='folder of the masks, or one mask')
    parser.add_argument('dst', help='folder for the index PNGs')
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--palette-from', metavar='DATASET',
                        help='registered dataset, e.g. NavelOrangeDataset')
    source.add_argument('--colors', nargs='+', metavar='R,G,B',
                        help='colour of each class, in the order of the classes')
    parser.add_argument('--tolerance', type=float, default=0,
                        help='largest distance of a colour from its class, Euclidean '
                        'in 8-bit RGB (default: 0, exact)')
    parser.add_argument('--alpha', choices=('background', 'ignore'),
                        default='background', help='what transparent pixels are')
    parser.add_argument('--trust', choices=('check', 'indices', 'colors'),
                        default='check',
                        help='what counts in a palette or grey mask')
    parser.add_argument('--force', action='store_true', help='overwrite masks in DST')
    return parser.parse_args(argv)


if __name__ == '__main__':
    # --help and a wrong argument are answered before the imports below
    parse_args()

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from rich.progress import track  # noqa: E402

SUFFIXES = ('.png', '.bmp', '.tif', '.tiff', '.jpg', '.jpeg', '.gif')
IGNORE = 255
# colour of ignored pixels in Pascal VOC's own masks
IGNORE_COLOR = (224, 224, 192)


def parse_color(text: str) -> tuple:
    """``'128,0,0'`` or ``'#800000'`` as (128, 0, 0)."""
    if re.fullmatch(r'#[0-9a-fA-F]{6}', text):
        return tuple(bytes.fromhex(text[1:]))
    if re.fullmatch(r'\d{1,3},\d{1,3},\d{1,3}', text):
        color = tuple(map(int, text.split(',')))
        if max(color) <= 255:
            return color
    raise SystemExit(f'--colors: {text!r} is no colour, expected R,G,B with values '
                     'from 0 to 255, or #rrggbb')


def registered_palette(name: str) -> list:
    """Colours of a dataset registered with MMSegmentation."""
    # Imported here, as colours given by hand need none of these; the first and the
    # second register the datasets. With mmcv-lite ours comes first.
    quiet()
    import fastsegformer_mm

    # isort: split
    import mmseg.datasets
    from mmseg.registry import DATASETS

    dataset = DATASETS.get(name)
    palette = getattr(dataset, 'METAINFO', {}).get('palette')
    if not palette:
        raise SystemExit(
            f'--palette-from {name}: no dataset of this name with a palette in '
            f'{mmseg.datasets.__name__} or {fastsegformer_mm.__name__}; give the '
            'colours with --colors')
    return [tuple(color) for color in palette]


class UnknownColors(ValueError):
    """Colours that are no class: a list of (colour, pixels, nearest, distance)."""

    def __init__(self, found: list):
        super().__init__(found)
        self.found = found


def colors_to_index(rgb: np.ndarray, palette: np.ndarray,
                    tolerance: float) -> np.ndarray:
    """Class of each colour of an (..., 3) array, the nearest one.

    Distances are Euclidean, in steps of 8-bit RGB; of two classes equally near, the
    first is taken.

    Raises:
        UnknownColors: If a colour is further than ``tolerance`` from all classes.
    """
    flat = rgb.reshape(-1, 3).astype(np.uint32)
    packed, inverse, counts = np.unique(
        flat[:, 0] << 16 | flat[:, 1] << 8 | flat[:, 2],
        return_inverse=True, return_counts=True)
    colors = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], 1)
    squared = ((colors[:, None].astype(int) - palette) ** 2).sum(-1)
    nearest = squared.argmin(1)
    distance = np.sqrt(squared.min(1))
    unknown = np.flatnonzero(distance > tolerance)
    if len(unknown):
        unknown = unknown[np.argsort(-counts[unknown], kind='stable')]
        raise UnknownColors([
            (tuple(colors[i].tolist()), int(counts[i]), int(nearest[i]),
             float(distance[i])) for i in unknown])
    return nearest[inverse.ravel()].reshape(rgb.shape[:-1]).astype(np.uint8)


def check_indices(values: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """The values, if all are classes or 255."""
    wrong = [int(v) for v in np.unique(values) if len(palette) <= v < IGNORE]
    if wrong:
        raise ValueError(f'index {wrong[0]} ({(values == wrong[0]).sum()} pixels), '
                         f'expected 0 to {len(palette) - 1} or {IGNORE}')
    return values


def palette_to_index(mask: Image.Image, palette: np.ndarray, tolerance: float,
                     trust: str) -> np.ndarray:
    """Indices of a palette mask, checked against the palette asked for."""
    if trust == 'colors':
        return colors_to_index(np.asarray(mask.convert('RGB')), palette, tolerance)
    values = check_indices(np.asarray(mask), palette)
    if trust == 'check':
        own = np.zeros((256, 3), int)
        table = np.array(mask.getpalette('RGB')).reshape(-1, 3)
        own[:len(table)] = table
        for v in np.unique(values[values != IGNORE]):
            if np.linalg.norm(own[v] - palette[v]) > tolerance:
                raise ValueError(
                    f'index {v} has colour {tuple(own[v].tolist())}, but class {v} '
                    f'has {tuple(palette[v].tolist())}: say which is right, --trust '
                    'indices or --trust colors')
    return values


def grey_to_index(values: np.ndarray, palette: np.ndarray, tolerance: float,
                  trust: str) -> np.ndarray:
    """Indices of a grey mask, whose values may be indices or colours."""
    if trust == 'indices':
        return check_indices(values, palette)
    grey = np.stack([values] * 3, -1)
    if trust == 'colors' or values.max() >= len(palette):
        return colors_to_index(grey, palette, tolerance)
    try:
        by_color = colors_to_index(grey, palette, tolerance)
    except UnknownColors:
        return values
    if (by_color != values).any():
        raise ValueError('its grey values can be class indices and class colours: '
                         'say which, --trust indices or --trust colors')
    return values


def mask_to_index(mask: Image.Image, palette, tolerance: float = 0,
                  alpha: str = 'background', trust: str = 'check') -> np.ndarray:
    """Class indices of one mask; see the module's text for the rules.

    Args:
        mask (Image): The mask.
        palette (Sequence[Sequence[int]]): RGB of each class, 0 to 255.
        tolerance (float): Largest distance of a pixel's colour from its class's,
            Euclidean, in steps of 8-bit RGB.
        alpha (str): What fully transparent pixels are, 'background' (class 0) or
            'ignore' (255).
        trust (str): 'check', 'indices' or 'colors': what counts in a palette or
            grey mask.

    Returns:
        ndarray: Indices, uint8, of shape (height, width).

    Raises:
        ValueError: If a colour or an index is no class, or the mode is none that a
            mask can have. ``UnknownColors`` is a ValueError.

    Example:
        >>> mask = Image.new('RGB', (2, 1), (128, 0, 0))
        >>> mask.putpixel((0, 0), (0, 0, 0))
        >>> mask_to_index(mask, [(0, 0, 0), (128, 0, 0)]).tolist()
        [[0, 1]]
    """
    palette = np.array(palette, int)
    if mask.mode == 'P':
        return palette_to_index(mask, palette, tolerance, trust)
    if mask.mode in ('1', 'L'):
        return grey_to_index(np.asarray(mask.convert('L')), palette, tolerance, trust)
    if mask.mode == 'RGB':
        return colors_to_index(np.asarray(mask), palette, tolerance)
    if mask.mode in ('RGBA', 'LA'):
        pixels = np.array(mask.convert('RGBA'))
        clear = pixels[..., 3] == 0
        # the colour under a transparent pixel is arbitrary: take a known one
        pixels[clear, :3] = palette[0]
        index = colors_to_index(pixels[..., :3], palette, tolerance)
        index[clear] = IGNORE if alpha == 'ignore' else 0
        return index
    raise ValueError(f'image mode {mask.mode}, expected RGB, RGBA, palette or grey '
                     'with 8 bits: save the mask as one of these')


def save_index(index: np.ndarray, palette, path: Path) -> None:
    """Write indices as palette PNG; 255 gets Pascal VOC's ignore colour."""
    table = np.zeros((256, 3), np.uint8)
    table[:len(palette)] = palette
    table[IGNORE] = IGNORE_COLOR
    image = Image.fromarray(index)
    image.putpalette(table.tobytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, optimize=True)


def describe(path: Path, error: ValueError, shown: int = 5) -> list:
    """Lines of the report on one mask."""
    if not isinstance(error, UnknownColors):
        return [f'{path}: {error}']
    lines = [f'{path}: colour {color}, {pixels} pixels, nearest class {nearest} '
             f'({distance:.0f} away)'
             for color, pixels, nearest, distance in error.found[:shown]]
    if len(error.found) > shown:
        furthest = max(distance for *_, distance in error.found)
        lines.append(f'{path}: ... and {len(error.found) - shown} colours more, the '
                     f'furthest {furthest:.0f} away')
    return lines


def escaped(text: str) -> str:
    """A text with what cannot be printed in a line written as an escape."""
    return ''.join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def find_masks(src: Path) -> tuple:
    """The masks below a folder, sorted, and a line for each folder not readable."""
    if not src.is_dir():
        return [src] if src.is_file() and src.suffix.lower() in SUFFIXES else [], []
    unreadable = []
    masks = sorted(
        Path(folder, name) for folder, _, names in os.walk(
            src, onerror=unreadable.append)
        for name in names if Path(name).suffix.lower() in SUFFIXES)
    return masks, [f'{error.filename}: cannot be read ({error.strerror}): see to its '
                   'permissions' for error in unreadable]


def convert(src, dst, palette, tolerance: float = 0, alpha: str = 'background',
            trust: str = 'check', force: bool = False) -> int:
    """Convert all masks below a folder.

    Args:
        src (str | Path): Folder of the masks, or one mask.
        dst (str | Path): Folder for the index PNGs.
        palette, tolerance, alpha, trust: As for :func:`mask_to_index`.
        force (bool): Overwrite masks in ``dst``.

    Returns:
        int: Number of masks converted.

    Raises:
        SystemExit: With the reason, when there are no masks, a mask cannot be
            converted, or a mask would be overwritten.
    """
    src, dst = Path(src), Path(dst)
    if not 0 < len(palette) <= IGNORE:
        raise SystemExit(f'{len(palette)} colours given, expected 1 to {IGNORE}')
    if len(set(map(tuple, palette))) < len(palette):
        raise SystemExit(f'two classes have the same colour: {list(palette)}')
    root = src if src.is_dir() else src.parent
    masks, problems = find_masks(src)
    if not masks and not problems:
        raise SystemExit(f'{src}: no masks found, expected {", ".join(SUFFIXES)}')
    targets = {}
    for path in masks:
        target = path.relative_to(root).with_suffix('.png')
        if target in targets:
            problems.append(f'{path} and {targets[target]} would both become '
                            f'{dst / target}: rename one')
        targets[target] = path
        if path.resolve() == (dst / target).resolve():
            raise SystemExit(f'{path} would be overwritten by its own conversion: '
                             'choose another DST')
        if (dst / target).exists() and not force:
            raise SystemExit(f'{dst / target} exists: choose another DST, or '
                             'overwrite with --force')

    dst.parent.mkdir(parents=True, exist_ok=True)
    # A sibling of DST, so that masks are put in place by renaming.
    with tempfile.TemporaryDirectory(prefix=f'.{dst.name}-partial-',
                                     dir=dst.parent) as partial:
        for target, path in track(targets.items(), description='Converting masks'):
            try:
                with Image.open(path) as mask:
                    index = mask_to_index(mask, palette, tolerance, alpha, trust)
            except ValueError as error:
                problems += describe(path, error)
            except Exception as error:
                # Pillow raises whatever its decoders happen to
                problems.append(f'{path}: cannot be decoded ({error})')
            else:
                save_index(index, palette, Path(partial) / target)
        if problems:
            more = [f'... and {len(problems) - 20} more'] * (len(problems) > 20)
            raise SystemExit('\n'.join(
                ['Masks that cannot be converted, nothing was written:']
                + [escaped(problem) for problem in problems[:20]] + more
                + ['Correct the masks or the palette. Blurred edges or JPEG noise: '
                   'raise --tolerance; grey masks of indices: --trust indices.']))
        for target in targets:
            (dst / target).parent.mkdir(parents=True, exist_ok=True)
            (Path(partial) / target).replace(dst / target)
    return len(targets)


def main(argv=None) -> None:
    args = parse_args(argv)
    if args.colors:
        palette = [parse_color(text) for text in args.colors]
    else:
        palette = registered_palette(args.palette_from)
    count = convert(args.src, args.dst, palette, args.tolerance, args.alpha,
                    args.trust, args.force)
    print(f'{count} masks written to {args.dst}')


if __name__ == '__main__':
    sys.exit(run_tool(main))
