"""Split a folder in VOC layout into training, validation and test images.

Reads::

    ROOT/JPEGImages/*.jpg             or another --img-suffix
    ROOT/SegmentationClass/*.png      8-bit class indices, 255 for "ignore"

checks every pair (same size, index PNG, known values), and writes the names, one
a line, to ``ROOT/ImageSets/Segmentation/{train,val,test}.txt``. The same seed
gives the same split, whatever the order of the folder.

Examples:
    fastsegformer split data/mine --ratios 8 2
    fastsegformer split data/navel_orange --balanced \
        --classes background sunburn ulcer 'wind scarring'
"""

import argparse
import os
import sys
from pathlib import Path

from fastsegformer_cli.signals import run_tool


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('root', help='folder with JPEGImages and SegmentationClass')
    parser.add_argument('--ratios', type=float, nargs='+', default=[6, 2, 2],
                        help='shares of train, val, test (default: 6 2 2)')
    parser.add_argument('--seed', type=int, default=0, help='of the choice')
    parser.add_argument('--balanced', action='store_true',
                        help='share out every class in proportion')
    parser.add_argument('--out', default='ImageSets/Segmentation',
                        help='folder of the split files in ROOT (%(default)s)')
    parser.add_argument('--classes', nargs='+', metavar='NAME',
                        help='names in the order of the labels')
    parser.add_argument('--skip-unlabelled', action='store_true',
                        help='leave images without a label out')
    parser.add_argument('--img-suffix', default='.jpg',
                        help='how the names of the images end (%(default)s)')
    parser.add_argument('--force', action='store_true', help='overwrite split files')
    return parser.parse_args(argv)


if __name__ == '__main__':
    # --help and a wrong argument are answered before the imports below
    parse_args()

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from rich.progress import track  # noqa: E402

SPLITS = ('train', 'val', 'test')
IGNORE = 255
IMAGE_SUFFIXES = ('.bmp', '.gif', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')


def escaped(name) -> str:
    """A name with what cannot be printed in a line written as an escape.

    Example:
        >>> escaped('two\nlines.jpg'), escaped('\udcff.jpg')
        ('two\\nlines.jpg', '\\udcff.jpg')
    """
    return ''.join(c if c.isprintable() else repr(c)[1:-1] for c in str(name))


def name_fault(name: str) -> str:
    """Why a name cannot stand in a list of one name a line, '' if it can."""
    if not name or name != name.strip():
        return 'blanks around the name, which readers of a list strip'
    if name.isprintable():
        return ''
    try:
        name.encode()
    except UnicodeEncodeError:
        return 'the name is not UTF-8, as lists are'
    return 'a line break or control character in the name'


def read_pair(image: Path, label: Path, num_classes: int) -> tuple:
    """What is wrong with a pair ('' if nothing), and the pixels of each class."""
    none = np.zeros(num_classes, int)
    try:
        with Image.open(image) as photo:
            photo.load()
            size = photo.size
            # MMCV turns a photograph as its EXIF tag says; a label has no tag
            turned = photo.getexif().get(0x0112, 1) != 1
        with Image.open(label) as mask:
            mode, mask_size, values = mask.mode, mask.size, np.asarray(mask)
    except Exception as error:
        # Pillow raises whatever its decoders happen to
        return f'cannot be decoded ({error})', none
    if turned:
        return ('the image has an EXIF rotation, its label cannot: save the image '
                'turned, without the tag'), none
    if mode not in ('L', 'P'):
        return (f'label mode {mode}, expected 8-bit indices (L or P): see '
                'color_masks_to_index.py'), none
    if mask_size != size:
        return (f'image {size[0]}x{size[1]}, label {mask_size[0]}x{mask_size[1]}',
                none)
    if 1 in size:
        return (f"{size[0]}x{size[1]}: MMSegmentation's LoadAnnotations drops sides of "
                'one pixel, expected 2 or more', none)
    pixels = np.bincount(values.ravel(), minlength=IGNORE + 1)
    wrong = np.flatnonzero(pixels[num_classes:IGNORE]) + num_classes
    if len(wrong):
        return (f'label value {wrong[0]} ({pixels[wrong[0]]} pixels), expected 0 to '
                f"{num_classes - 1} or {IGNORE}: give the set's --classes"), none
    return '', pixels[:num_classes]


def read_set(root: Path, num_classes: int | None = None,
             skip_unlabelled: bool = False, img_suffix: str = '.jpg') -> tuple:
    """Names and, for each, the pixels of every class; one error for all faults.

    Without ``num_classes`` there are as many as the highest label says. Values below
    it that no label holds, or no class but 0, are then a fault: such labels are
    colours, not indices.
    """
    images, labels = root / 'JPEGImages', root / 'SegmentationClass'
    image_names, other_images = list_names(images, img_suffix)
    label_names, _ = list_names(labels, '.png')
    for folder, suffix, found in ((images, img_suffix, image_names),
                                  (labels, '.png', label_names)):
        if not found:
            raise SystemExit(
                f'{folder} has no *{suffix}: expected a folder in VOC layout, '
                f'JPEGImages/*{img_suffix} (--img-suffix) and SegmentationClass/*.png')
    problems = [f'{labels / name}.png: no {images / name}{img_suffix}'
                for name in sorted(label_names - image_names)]
    if not skip_unlabelled:
        problems += [f'{images / name}{img_suffix}: no {labels / name}.png (label '
                     'it, or pass --skip-unlabelled)'
                     for name in sorted(image_names - label_names)]
    problems += [f'{images / other}: beside {stem}{img_suffix}, two images for one '
                 'label: move one away'
                 for stem, other in sorted(other_images) if stem in image_names]
    names, pixels = sorted(image_names & label_names), []
    for name in track(names, description='Checking pairs'):
        problem, counts = read_pair(images / f'{name}{img_suffix}',
                                    labels / f'{name}.png', num_classes or IGNORE)
        if name_fault(name):
            problems.append(f'{images / name}{img_suffix}: {name_fault(name)}: rename '
                            'image and label')
        if problem:
            problems.append(f'{labels / name}.png: {problem}')
        pixels.append(counts)
    pixels = np.array(pixels).reshape(len(names), num_classes or IGNORE)
    if not num_classes and not problems:
        present = np.flatnonzero(pixels.any(0)).tolist()
        highest = max(present, default=0)
        absent = sorted({*range(highest), 1} - set(present))
        if absent:
            name = names[int(pixels[:, highest].argmax())]
            problems.append(
                f'{labels / name}.png: label value {highest}, but no label of the set '
                f"holds {absent[0]}: if these are class indices, give the set's "
                '--classes; if they are colours (such as 0 and 255 for two classes), '
                'see color_masks_to_index.py')
        pixels = pixels[:, :highest + 1]
    if problems:
        more = [f'  ... and {len(problems) - 10} more'] if len(problems) > 10 else []
        raise SystemExit('\n'.join(
            [f'{root}: {len(problems)} problem(s), nothing was written:']
            + [f'  {escaped(problem)}' for problem in problems[:10]] + more))
    return names, pixels


def list_names(folder: Path, suffix: str) -> tuple:
    """Names without their suffix, and (name, file) of images with another one."""
    try:
        files = os.listdir(folder)
    except FileNotFoundError:
        files = []
    except OSError as error:
        raise SystemExit(f'{folder} cannot be read ({error.strerror}): see to its '
                         'permissions') from error
    names = {name[:-len(suffix)] for name in files if name.endswith(suffix)}
    others = [(os.path.splitext(name)[0], name) for name in files
              if not name.endswith(suffix) and name.lower().endswith(IMAGE_SUFFIXES)]
    return names, others


def split_sizes(total: int, ratios) -> list:
    """Images of each split: largest remainders, none empty whose ratio is not 0."""
    wanted = np.array(ratios, float) / sum(ratios) * total
    sizes = np.floor(wanted).astype(int)
    for i in np.argsort(sizes - wanted, kind='stable')[:total - sizes.sum()]:
        sizes[i] += 1
    empty = (sizes == 0) & (wanted > 0)
    if total < np.count_nonzero(wanted):
        raise SystemExit(f'{total} labelled image(s) cannot fill '
                         f'{np.count_nonzero(wanted)} splits: add images, or set a '
                         'ratio to 0')
    for i in np.flatnonzero(empty):
        sizes[sizes.argmax()] -= 1
        sizes[i] = 1
    return sizes.tolist()


def assign_random(total: int, sizes, seed: int) -> np.ndarray:
    """The split of each image, drawn blindly."""
    return np.random.default_rng(seed).permutation(np.repeat(range(len(sizes)), sizes))


def assign_balanced(present: np.ndarray, sizes, seed: int) -> np.ndarray:
    """The split of each image, every class shared out in the splits' proportion.

    Iterative stratification (Sechidis et al., ECML PKDD 2011) under fixed split
    sizes: the class with the fewest images left goes first, each of its images to
    the split that still lacks most of that class.

    Args:
        present (ndarray): Which image (row) shows which class (column), bool.
        sizes (Sequence[int]): Images of each split.
        seed (int): Order of the images, and ties.

    Returns:
        ndarray: Index of the split of each image.
    """
    rng = np.random.default_rng(seed)
    sizes = np.array(sizes)
    room = sizes.copy()
    lacking = present.sum(0) * sizes[:, None] / len(present)
    assigned = np.full(len(present), -1)
    order = rng.permutation(len(present))
    while (assigned < 0).any():
        left = [i for i in order if assigned[i] < 0]
        counts = present[left].sum(0)
        if counts.any():
            rarest = np.where(counts > 0, counts, np.inf).argmin()
            group = [i for i in left if present[i, rarest]]
            need = lacking[:, rarest]
        else:  # images that show no class at all
            group, need = left, room.astype(float)
        for i in group:
            # need is a view: it sinks with every image handed out
            keys = [(room[s] > 0, need[s], room[s], rng.random())
                    for s in range(len(sizes))]
            best = max(range(len(sizes)), key=keys.__getitem__)
            assigned[i] = best
            room[best] -= 1
            lacking[best] -= present[i]
            if not counts.any():
                need[best] -= 1
    return assigned


def summary(classes, pixels: np.ndarray, assigned: np.ndarray) -> str:
    """Images, and images and share of pixels that show each class, by split."""
    width = max(len(name) for name in classes) + 2
    names = [n for i, n in enumerate(SPLITS) if (assigned == i).any()]
    lines = [' ' * width + ''.join(f'{name:>20}' for name in names),
             f'{"images":<{width}}' + ''.join(
                 f'{(assigned == SPLITS.index(n)).sum():>20}' for n in names)]
    for k, name in enumerate(classes):
        line = f'{name:<{width}}'
        for split in names:
            part = pixels[assigned == SPLITS.index(split)]
            share = 100 * part[:, k].sum() / max(part.sum(), 1)
            line += f'{(part[:, k] > 0).sum():>9} ({share:6.2f} %)'.rjust(20)
        lines.append(line)
    lines.append('(images that show the class, and its share of the pixels)')
    return '\n'.join(lines)


def write_lists(folder: Path, written: dict) -> None:
    """Write all lists beside their names, then rename them; or leave all as it was."""
    partial = {folder / f'{name}.txt': folder / f'.{name}.txt.partial'
               for name in written}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for (_, path), members in zip(partial.items(), written.values()):
            path.write_text('\n'.join(members) + '\n', encoding='utf-8')
        for name in SPLITS:  # a split left out this time must not stay behind
            if name not in written:
                (folder / f'{name}.txt').unlink(missing_ok=True)
        for target, path in partial.items():
            os.replace(path, target)
    except OSError as error:
        raise SystemExit(f'{folder} cannot be written ({error.strerror}): see to its '
                         'permissions and the space on its disk') from error
    finally:
        for path in partial.values():
            path.unlink(missing_ok=True)


def split(root, ratios=(6, 2, 2), seed: int = 0, balanced: bool = False,
          out: str = 'ImageSets/Segmentation', classes=None,
          skip_unlabelled: bool = False, img_suffix: str = '.jpg',
          force: bool = False) -> dict:
    """Split a VOC-layout folder; see the module's text.

    Args:
        root (str | Path): The folder.
        ratios (Sequence[float]): Shares of train, val and, if a third is given,
            test; 0 leaves a split out.
        seed (int): Seed of the choice.
        balanced (bool): Share out every class in proportion, not only images.
        out (str): Folder of the split files, relative to ``root``.
        classes (Sequence[str], optional): Names of the classes, in the order of the
            labels. Defaults to as many as the labels hold.
        skip_unlabelled (bool): Leave images without a label out of the split.
        img_suffix (str): How the names of the images end.
        force (bool): Overwrite split files.

    Returns:
        dict[str, list[str]]: Names of each split that was written.

    Raises:
        SystemExit: With the reason, when the ratios make no split, a pair is
            wrong, split files exist or cannot be written. No split file is changed
            then.
    """
    root = Path(root)
    if len(ratios) not in (2, 3) or min(ratios) < 0 or sum(ratios) <= 0:
        raise SystemExit(f'--ratios {" ".join(map(str, ratios))}: expected two or '
                         'three shares (train val [test]), none negative')
    folder = root / out
    existing = [folder / f'{name}.txt' for name in SPLITS
                if (folder / f'{name}.txt').exists()]
    if existing and not force:
        raise SystemExit(f'{existing[0]} exists: choose another --out, or overwrite '
                         'with --force')
    names, pixels = read_set(root, classes and len(classes), skip_unlabelled,
                             img_suffix)
    classes = classes or [f'class {k}' for k in range(pixels.shape[1])]
    sizes = split_sizes(len(names), ratios)
    if balanced:
        assigned = assign_balanced(pixels > 0, sizes, seed)
    else:
        assigned = assign_random(len(names), sizes, seed)
    written = {SPLITS[i]: [name for name, s in zip(names, assigned) if s == i]
               for i, size in enumerate(sizes) if size}
    write_lists(folder, written)
    print(summary(classes, pixels, assigned))
    print(f'written to {folder}: {", ".join(f"{n}.txt" for n in written)}')
    return written


def main(argv=None) -> None:
    args = parse_args(argv)
    split(args.root, args.ratios, args.seed, args.balanced, args.out, args.classes,
          args.skip_unlabelled, args.img_suffix, args.force)


if __name__ == '__main__':
    sys.exit(run_tool(main))
