"""Which images and labels a data set finds, and which it does not."""
import io
import os
import os.path as osp
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from mmengine import fileio

from .report import Problem
from .sources import Source, folder_missing, remedy

IMAGE_SUFFIXES = ('.bmp', '.gif', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')


@dataclass
class Listing:
    """What is on the disk.

    Args:
        pairs (list): (image, label or None), those of which the files are there.
        images (int): Number of images that are there.
        labels (int): Number of their labels that are there.
        problems (list[Problem]): What is missing, or left over.
    """

    pairs: list[tuple[str, str | None]] = field(default_factory=list)
    images: int = 0
    labels: int = 0
    problems: list[Problem] = field(default_factory=list)


def list_pairs(source: Source) -> Listing:
    """List a data set as it will list itself, but without stopping at a fault."""
    listing = Listing()
    if source.records is not None:
        _take(source, listing, source.records, _Disk(source), '')
        return listing
    images, labels = _Folder(source, source.image_folder), None
    listing.problems += _folder_problems(
        source, images, source.img_suffix, 'img_suffix')
    if source.label_folder is not None:
        labels = _Folder(source, source.label_folder)
        found = _folder_problems(
            source, labels, source.seg_map_suffix, 'seg_map_suffix')
        # when the root itself is missing one line says so
        listing.problems += [p for p in found if p not in listing.problems]
    if source.ann_file and not osp.isdir(source.ann_file):
        names, problems = _split_names(source)
        listing.problems += problems
        origin = source.ann_file
    else:
        names = _stems(images.files, source.img_suffix)
        listing.problems += _other_suffixes(source, images, names)
        origin = ''
    records = [
        (osp.join(source.image_folder, name + source.img_suffix),
         None if labels is None
         else osp.join(source.label_folder, name + source.seg_map_suffix))
        for name in names]
    if not origin:
        records.sort()  # as BaseSegDataset does
    if images.has(source.img_suffix):
        _take(source, listing, _subset(records, source.indices),
              _Disk(source, images, labels), origin)
    if labels is not None:
        listing.problems += _left_over(source, images, labels)
    return listing


class _Folder:
    """The files below a folder, relative to it; listed once."""

    def __init__(self, source: Source, path: str) -> None:
        self.path = path
        self.exists = fileio.isdir(path, backend_args=source.backend_args)
        self.files: list[str] = []
        self.unreadable: list[OSError] = []
        if self.exists:
            try:
                self.files = sorted(fileio.list_dir_or_file(
                    path, list_dir=False, recursive=True,
                    backend_args=source.backend_args))
            except OSError as error:
                self._list_readable(error)
        self.paths = {osp.join(path, name) for name in self.files}

    def _list_readable(self, error: OSError) -> None:
        """List what there is beside the folders that cannot be read."""
        for folder, _, names in os.walk(self.path, onerror=self.unreadable.append):
            inside = osp.relpath(folder, self.path)
            self.files += [osp.normpath(osp.join(inside, name)) for name in names]
        self.files.sort()
        # a file backend of another kind has no folders to walk
        self.unreadable = self.unreadable or [error]

    def has(self, suffix: str) -> bool:
        return any(name.endswith(suffix) for name in self.files)


class _Disk:
    """Whether files are there: in listed folders, or asked for one by one."""

    def __init__(self, source: Source, *folders: _Folder | None) -> None:
        self.source = source
        self.folders = [folder for folder in folders if folder is not None]
        self._stems: dict[str, str] = {}

    def has(self, path: str) -> bool:
        return any(path in folder.paths for folder in self.folders) or fileio.exists(
            path, backend_args=self.source.backend_args)

    def same_stem(self, path: str) -> str:
        """A file that differs in its suffix alone, '' if there is none."""
        if not self._stems:
            self._stems = {osp.splitext(p)[0]: osp.basename(p)
                           for folder in self.folders for p in sorted(folder.paths)}
        return self._stems.get(osp.splitext(path)[0], '')


def _stems(files: Iterable[str], suffix: str) -> list[str]:
    return [name[:-len(suffix) or None] for name in files if name.endswith(suffix)]


def _subset(records: list, indices) -> list:
    """As BaseDataset takes ``indices``."""
    if indices is None:
        return records
    if isinstance(indices, int):
        return records[:indices] if indices >= 0 else records[indices:]
    return [records[i] for i in indices]


def _suffixes(files: Iterable[str]) -> str:
    """The suffixes that are there, the most frequent first, counts, an example."""
    counts = Counter(osp.splitext(name)[1] for name in files).most_common()
    texts = [f'{suffix or "no suffix"} ({count})' for suffix, count in counts]
    example = next(name for name in files if osp.splitext(name)[1] == counts[0][0])
    return f'{", ".join(texts)}, such as {example}'


def _folder_problems(source: Source, folder: _Folder, suffix: str,
                     option: str) -> list[Problem]:
    if not folder.exists:
        return [folder_missing(source, folder.path)]
    if folder.unreadable:
        return [Problem(
            'unreadable-folder', 'error', source.split,
            str(error.filename or folder.path), str(error.strerror or error),
            'a folder that can be read', 'see to its permissions')
            for error in folder.unreadable]
    if not folder.files:
        return [Problem('folder-empty', 'error', source.split, folder.path,
                        'no files', f'files *{suffix}', remedy(source))]
    if not folder.has(suffix):
        return [Problem(
            'wrong-suffix', 'error', source.split, folder.path,
            f'{len(folder.files)} files, {_suffixes(folder.files)}', f'*{suffix}',
            f'set {source.where}.{option} to how the names end')]
    return []


def _other_suffixes(source: Source, images: _Folder, names: list) -> list[Problem]:
    """Images that are passed over for their suffix."""
    others = [name for name in images.files
              if not name.endswith(source.img_suffix)
              and name.lower().endswith(IMAGE_SUFFIXES)]
    # labels may live in or below the folder of the images
    if source.label_folder is not None and not osp.relpath(
            source.label_folder, images.path).startswith(osp.pardir):
        others = [name for name in others
                  if not name.endswith(source.seg_map_suffix)]
    if not others or not names:
        return []
    return [Problem(
        'wrong-suffix', 'warning', source.split, images.path,
        f'beside {len(names)} *{source.img_suffix} {_suffixes(others)}',
        f'images *{source.img_suffix} only',
        'the others are not used: convert or rename them, or move them away')]


def _split_names(source: Source) -> tuple[list[str], list[Problem]]:
    """The names in the split file."""
    path, split = source.ann_file, source.split
    if not fileio.isfile(path, backend_args=source.backend_args):
        return [], [Problem(
            'split-file-missing', 'error', split, path, 'no such file',
            'a list of image names without suffix, one a line',
            f'write it by: python tools/dataset_converters/split_voc.py '
            f'{source.root or "ROOT"}; or set {source.where}.ann_file')]
    try:
        text = fileio.get_text(path, backend_args=source.backend_args)
    except (OSError, UnicodeDecodeError) as error:
        return [], [Problem(
            'split-file-unreadable', 'error', split, path,
            getattr(error, 'strerror', None) or str(error), 'a text file in UTF-8',
            'see to its permissions, or save it anew in UTF-8')]
    lines = [line.strip() for line in io.StringIO(text)]
    names, problems = [line for line in lines if line], []
    if not names:
        problems.append(Problem(
            'split-file-empty', 'error', split, path, 'no names',
            'image names without suffix, one a line',
            f'write it by: python tools/dataset_converters/split_voc.py '
            f'{source.root or "ROOT"} --force'))
    elif len(names) < len(lines) and not source.skips_blank_lines:
        problems.append(Problem(
            'split-blank-line', 'error', split, path,
            f'line {lines.index("") + 1} is blank', 'a name in every line',
            f'delete blank lines, which {source.name} takes for an image called '
            f'{source.img_suffix}'))
    for name, count in Counter(names).items():
        if count > 1:
            problems.append(Problem(
                'split-duplicate', 'warning', split, path,
                f'{name} is named {count} times', 'each name once',
                'delete the others: the image counts as often as it is named'))
    return names, problems


def _take(source: Source, listing: Listing, records: list, disk: _Disk,
          origin: str) -> None:
    """Sort records into pairs and what is missing."""
    absent_folders = {p.file for p in listing.problems if p.severity == 'error'
                      and p.kind in ('folder-missing', 'folder-empty',
                                     'wrong-suffix', 'unreadable-folder')}
    for image, label in dict.fromkeys(records):
        has_image = disk.has(image)
        listing.images += has_image
        has_label = label is not None and disk.has(label)
        listing.labels += has_label
        if not has_image:
            listing.problems.append(_image_absent(source, image, disk, origin))
        elif label is None or has_label:
            listing.pairs.append((image, label))
            listing.problems += _odd_name(source, image)
        elif source.label_folder not in absent_folders and (
                source.root not in absent_folders):
            there = disk.same_stem(label)
            listing.problems.append(Problem(
                'label-missing', 'error', source.split, image,
                f'no {label}' + (f', there is {there}' if there else ''),
                'a label for every image',
                f'set {source.where}.seg_map_suffix, or rename the label' if there
                else 'label it, or take it out of '
                f'{origin or "the folder"}'))


def _odd_name(source: Source, image: str) -> Iterator[Problem]:
    """A name that cannot stand in a list or a record of names, a line each."""
    name = osp.relpath(image, source.image_folder or '.')
    stem = name.removesuffix(source.img_suffix)
    if not name.isprintable():
        try:
            name.encode()
            value = 'a line break or control character in the name'
        except UnicodeEncodeError:
            value = 'the name is not UTF-8'
        yield Problem(
            'unusual-name', 'error', source.split, image, value,
            'a name that can stand in a line of a UTF-8 text',
            'rename image and label: lists, records and logs cannot hold the name')
    elif stem != stem.strip():
        yield Problem(
            'unusual-name', 'warning', source.split, image,
            'blanks around the name', 'a name without them',
            'rename image and label: readers of split files strip blanks')


def _image_absent(source: Source, image: str, disk: _Disk, origin: str) -> Problem:
    name = osp.relpath(image, source.image_folder) if origin else image
    name = name.removesuffix(source.img_suffix)
    way_out = 'delete the name, or put the image there'
    there = disk.same_stem(image)
    if disk.has(osp.join(source.image_folder, name)):
        way_out = f'write names without suffix: {osp.splitext(name)[0]}'
    elif there:
        way_out = f'there is {there}: set {source.where}.img_suffix, or rename it'
    return Problem(
        'split-names-absent' if origin else 'image-missing', 'error', source.split,
        origin or image, f'names {name}, there is no {image}' if origin
        else 'no such file', 'names of images that are there' if origin
        else 'the images of the list', way_out)


def _left_over(source: Source, images: _Folder, labels: _Folder) -> list[Problem]:
    """Labels whose image is in no split, as it is not there at all."""
    if not images.has(source.img_suffix):
        return []
    stems = set(_stems(images.files, source.img_suffix))
    inside = osp.abspath(labels.path) == osp.abspath(images.path)
    problems = []
    for name in _stems(labels.files, source.seg_map_suffix):
        label = osp.join(labels.path, name + source.seg_map_suffix)
        if name in stems or (inside and label.endswith(source.img_suffix)):
            continue
        problems.append(Problem(
            'image-missing', 'warning', source.split, label,
            f'no {osp.join(images.path, name + source.img_suffix)}',
            'an image for every label',
            'the label is not used: add its image, or move it away'))
    return problems
