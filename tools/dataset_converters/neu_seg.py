"""Bring NEU-Seg (zip or folder) into the layout of ``NEUSegDataset``.

The set as it is published::

    NEU_Seg/images/{training,test}/*.jpg
    NEU_Seg/annotations/{training,test}/*.png

becomes::

    DST/images/{train,val,test}/*.jpg
    DST/annotations/{train,val,test}/*.png

The published test split stays the test split; ``val`` is drawn from the training
images. Files are copied byte for byte. The set was enlarged by turned copies before it
was split: ``--without-copies`` leaves out the training images that are copies of test
images, and keeps those of one picture together in train or in val. DST appears only
once every file has been checked and written: a run that fails or is interrupted leaves
nothing behind.

Example:
    fastsegformer import-neu-seg NEU_Seg.zip data/neu_seg
    fastsegformer import-neu-seg NEU_Seg.zip data/neu_seg_new --without-copies
"""

import argparse
import io
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from fastsegformer_cli.quiet import quiet
from fastsegformer_cli.signals import run_tool


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('src', help='NEU_Seg.zip, or the folder it unpacks to')
    parser.add_argument('dst', nargs='?', default='data/neu_seg',
                        help='folder to make (default: %(default)s)')
    parser.add_argument('--val-ratio', type=float, default=0.1,
                        help='share of the training images (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of the validation split')
    parser.add_argument('--force', action='store_true', help='replace DST')
    parser.add_argument(
        '--without-copies', action='store_true',
        help='leave out training images that are turned copies of test images, and '
        'keep the copies of a picture together in train or in val')
    return parser.parse_args(argv)


if __name__ == '__main__':
    # --help and a wrong argument are answered before the imports below
    parse_args()

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from rich.progress import track  # noqa: E402

CLASSES = ('background', 'inclusion', 'patch', 'scratch')
# folder and suffix of the two kinds of file
KINDS = {'images': '.jpg', 'annotations': '.png'}
SPLITS = ('training', 'test')


class ZipSource:
    """The files of an archive, by their path inside it."""

    def __init__(self, path: Path):
        try:
            self.archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise SystemExit(
                f'{path} cannot be read as a zip ({error}): download it again, or '
                'give the folder it unpacks to') from error
        self.name = str(path)

    def paths(self) -> list:
        found = []
        for info in self.archive.infolist():
            path = PurePosixPath(info.filename)
            # Nothing is ever unpacked under the archive's own names; such a name
            # still says that this is not the archive it claims to be.
            if path.is_absolute() or '..' in path.parts or '\\' in info.filename:
                raise SystemExit(
                    f'{self.name} holds the unsafe path {info.filename!r}: nothing '
                    'was unpacked; download the archive from its authors again')
            if not info.is_dir() and '__MACOSX' not in path.parts:
                found.append(path)
        return found

    def read(self, path: PurePosixPath) -> bytes:
        try:
            return self.archive.read(str(path))
        except (zipfile.BadZipFile, RuntimeError, OSError) as error:
            raise SystemExit(
                f'{self.name}: {path} cannot be unpacked ({error}): download the '
                'archive again') from error


class FolderSource:
    """The files of a folder, by their path inside it."""

    def __init__(self, path: Path):
        self.root = path
        self.name = str(path)

    def paths(self) -> list:
        def stop(error: OSError):
            raise SystemExit(f'{error.filename} cannot be read ({error.strerror}): see '
                             'to its permissions') from error

        return [PurePosixPath(Path(folder, name).relative_to(self.root).as_posix())
                for folder, _, names in os.walk(self.root, onerror=stop)
                for name in names]

    def read(self, path: PurePosixPath) -> bytes:
        return (self.root / path).read_bytes()


def find_files(source) -> dict:
    """Paths by split, kind and stem; one error if this is not NEU-Seg."""
    files = {split: {kind: {} for kind in KINDS} for split in SPLITS}
    roots = set()
    for path in source.paths():
        if len(path.parts) < 3:
            continue
        kind, split = path.parts[-3:-1]
        if split not in files or KINDS.get(kind) != path.suffix.lower():
            continue
        roots.add(path.parts[:-3])
        other = files[split][kind].setdefault(path.stem, path)
        if other != path and other.parts[:-3] == path.parts[:-3]:
            raise SystemExit(f'{source.name}: {other} and {path} have one name: take '
                             'one away')
    if len(roots) > 1:
        names = ', '.join(sorted('/'.join(r) or '.' for r in roots))
        raise SystemExit(f'{source.name} holds NEU-Seg more than once ({names}): '
                         'give the one folder to convert')
    for split, kinds in files.items():
        for kind, found in kinds.items():
            if not found:
                raise SystemExit(
                    f'{source.name} has no {kind}/{split}/*{KINDS[kind]}: expected '
                    'images/ and annotations/, each with training/ and test/')
    return files


def check_pair(image: bytes, label: bytes) -> tuple:
    """What is wrong with a pair ('' if nothing), and the classes in its label."""
    try:
        photo = Image.open(io.BytesIO(image))
        photo.load()  # a truncated file has a good header
        size = photo.size
        mask = Image.open(io.BytesIO(label))
        values = np.unique(np.asarray(mask))
    except Exception as error:
        # Pillow raises whatever its decoders happen to
        return f'cannot be decoded ({error})', ()
    if mask.mode not in ('L', 'P'):
        return f'label mode {mask.mode}, expected 8-bit indices (L or P)', ()
    if mask.size != size:
        return f'image {size[0]}x{size[1]}, label {mask.size[0]}x{mask.size[1]}', ()
    if values.max() >= len(CLASSES):
        return f'label value {values.max()}, expected 0 to {len(CLASSES) - 1}', ()
    return '', tuple(int(v) for v in values)


def draw_val(classes: dict, ratio: float, seed: int) -> set:
    """A seeded share of the stems, proportional over the class combinations.

    Shuffled, sorted by the classes in their labels and picked at equal steps, so
    that ``val`` has the same share of every combination, and the exact count.
    """
    stems = sorted(classes)
    count = round(len(stems) * ratio)
    if count == 0:
        return set()
    np.random.default_rng(seed).shuffle(stems)
    stems.sort(key=lambda stem: classes[stem])
    steps = (np.arange(count) + 0.5) * len(stems) / count
    return {stems[int(i)] for i in steps}


def copies_apart(prints: dict, classes: dict, ratio: float, seed: int) -> tuple:
    """Stems to leave out of training, and those of ``val``, by whole groups.

    Args:
        prints (dict): Fingerprints by stem, of 'training' and of 'test'.
        classes (dict): The classes in each training label, by stem.
    """
    from fastsegformer_mm.datasets.checks.near_copies import (
        find_near_copies,
        groups_of_copies,
    )

    stems = sorted(prints['training'])
    pictures = [prints['training'][stem] for stem in stems]
    leaked = {stems[copy.index] for copy in find_near_copies(
        pictures, list(prints['test'].values()))}
    groups: dict = {}
    for stem, group in zip(stems, groups_of_copies(pictures)):
        if stem not in leaked:
            groups.setdefault(stems[group], []).append(stem)
    # the classes of a picture are those of its copies
    firsts = {members[0]: members for members in groups.values()}
    drawn = draw_val({stem: classes[stem] for stem in firsts}, ratio, seed)
    return leaked, {stem for first in drawn for stem in firsts[first]}


def convert(src, dst, val_ratio: float = 0.1, seed: int = 0,
            force: bool = False, without_copies: bool = False) -> dict:
    """Convert NEU-Seg; see the module's text.

    Args:
        src (str | Path): The zip, or a folder that holds what it unpacks to.
        dst (str | Path): Folder to make.
        val_ratio (float): Share of the training images for validation, in [0, 1).
        seed (int): Seed of that choice.
        force (bool): Replace an existing ``dst``.
        without_copies (bool): Leave out training images that are turned copies of
            test images, and keep copies together in train or val.

    Returns:
        dict: Number of images in each split.

    Raises:
        SystemExit: With the reason, when the source is not NEU-Seg, a pair is
            incomplete or wrong, or ``dst`` exists.
    """
    src, dst = Path(src), Path(dst)
    if not 0 <= val_ratio < 1:
        raise SystemExit(f'--val-ratio is {val_ratio}, expected a share in [0, 1)')
    if not src.exists():
        raise SystemExit(f'{src} does not exist: give NEU_Seg.zip or its folder')
    check_target(src, dst, force)
    source = FolderSource(src) if src.is_dir() else ZipSource(src)
    files = find_files(source)

    problems = []
    for split, kinds in files.items():
        for kind, other in (('images', 'annotations'), ('annotations', 'images')):
            problems += [
                f'{kind}/{split}/{stem}{KINDS[kind]}: no {other}/{split}/'
                f'{stem}{KINDS[other]}'
                for stem in sorted(set(kinds[kind]) - set(kinds[other]))
            ]
    if problems:
        raise SystemExit(report(source.name, problems))

    dst.parent.mkdir(parents=True, exist_ok=True)
    # A sibling of DST, so that the last step is a rename on one file system.
    partial = Path(tempfile.mkdtemp(prefix=f'.{dst.name}-partial-', dir=dst.parent))
    try:
        counts = write(source, files, partial / 'new', val_ratio, seed,
                       without_copies)
        if dst.exists():
            # moved into the temporary folder, which is removed below
            dst.rename(partial / 'replaced')
        (partial / 'new').rename(dst)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return counts


def check_target(src: Path, dst: Path, force: bool) -> None:
    """Refuse a DST that may not be made or replaced."""
    if not dst.exists():
        return
    if not force:
        raise SystemExit(f'{dst} exists: choose another folder, or replace it with '
                         '--force')
    if src.resolve().is_relative_to(dst.resolve()):
        raise SystemExit(f'{dst} is or holds the source {src}: choose another folder')
    # --force deletes: only what this converter may have made
    foreign = ([dst.name] if not dst.is_dir() else
               sorted({p.name for p in dst.iterdir()} - set(KINDS)))
    if foreign:
        raise SystemExit(f'{dst} holds {foreign[0]!r}, which this converter did not '
                         'make: it is not replaced, choose another folder')


def write(source, files: dict, root: Path, val_ratio: float, seed: int,
          without_copies: bool) -> dict:
    """Check all pairs, copy them below ``root``; the number of each split."""
    if without_copies:
        # imported here, as it takes seconds
        quiet()
        from fastsegformer_mm.datasets.checks.near_copies import fingerprint
    for split in ('train', 'val', 'test'):
        for kind in KINDS:
            (root / kind / split).mkdir(parents=True)
    problems, classes, counts = [], {}, {'train': 0, 'val': 0, 'test': 0}
    prints = {split: {} for split in SPLITS}
    pairs = [(split, stem) for split in SPLITS
             for stem in sorted(files[split]['images'])]
    for split, stem in track(pairs, description='Checking and copying'):
        try:
            data = {kind: source.read(files[split][kind][stem]) for kind in KINDS}
            problem, present = check_pair(data['images'], data['annotations'])
        except OSError as error:
            problem = f'cannot be read ({error.strerror})'
        if problem:
            problems.append(f'{split}/{stem}: {problem}')
            continue
        if split == 'training':
            classes[stem] = present
        if without_copies:
            photo = Image.open(io.BytesIO(data['images']))
            prints[split][stem] = fingerprint(np.asarray(photo))
        target = 'train' if split == 'training' else 'test'
        counts[target] += 1
        for kind, suffix in KINDS.items():
            (root / kind / target / f'{stem}{suffix}').write_bytes(data[kind])
    if problems:
        raise SystemExit(report(source.name, problems))
    leaked = set()
    if without_copies:
        leaked, val = copies_apart(prints, classes, val_ratio, seed)
    else:
        val = draw_val(classes, val_ratio, seed)
    for stem in leaked | val:
        for kind, suffix in KINDS.items():
            path = root / kind / 'train' / f'{stem}{suffix}'
            if stem in val:
                path.rename(root / kind / 'val' / path.name)
            else:
                path.unlink()
    counts['train'] -= len(leaked | val)
    counts['val'] += len(val)
    return counts


def report(name: str, problems: list, shown: int = 10) -> str:
    """One message for all problems, the first ones named."""
    lines = [f'{name}: {len(problems)} problem(s), nothing was written:']
    lines += ['  ' + ''.join(c if c.isprintable() else repr(c)[1:-1] for c in problem)
              for problem in problems[:shown]]
    if len(problems) > shown:
        lines.append(f'  ... and {len(problems) - shown} more')
    lines.append('Correct or remove these files, or download the set again.')
    return '\n'.join(lines)


def main(argv=None) -> None:
    args = parse_args(argv)
    counts = convert(args.src, args.dst, args.val_ratio, args.seed, args.force,
                     args.without_copies)
    sizes = ', '.join(f'{name} {count}' for name, count in counts.items())
    print(f'{args.dst}: {sizes}')


if __name__ == '__main__':
    sys.exit(run_tool(main))
