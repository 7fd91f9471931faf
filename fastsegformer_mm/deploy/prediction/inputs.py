"""From what the user names to the files and streams to be read."""

import glob
import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import DeployError
from .file_search import FileSearch
from .image_file import ImageFile
from .input_error import InputError
from .live_stream import LiveStream
from .names import check_name
from .video_file import VideoFile

IMAGES = (
    '.bmp',
    '.jpe',
    '.jpeg',
    '.jpg',
    '.pgm',
    '.png',
    '.ppm',
    '.tif',
    '.tiff',
    '.webp',
)
VIDEOS = (
    '.avi',
    '.flv',
    '.m4v',
    '.mkv',
    '.mov',
    '.mp4',
    '.mpeg',
    '.mpg',
    '.ts',
    '.webm',
    '.wmv',
)
SCHEMES = ('http', 'https', 'rtmp', 'rtsp', 'rtsps', 'tcp', 'udp')


@dataclass(frozen=True)
class Inputs:
    """What is to be read, in this order.

    Args:
        sources (list): :class:`ImageFile`, :class:`VideoFile` and at the end
            :class:`LiveStream`.
        root (str): Folder that the names of files are relative to, '' without any.
        failures (tuple[InputError]): Folders that cannot be read, and files that
            records cannot name. Defaults to none.
        left_out (tuple[str]): Folders of earlier runs among the inputs, whose masks
            and overlays are not read. Defaults to none.
    """

    sources: list
    root: str
    failures: tuple[InputError, ...] = ()
    left_out: tuple[str, ...] = ()


def find_inputs(
    inputs: Sequence[str], exclude: Path | None = None, reconnect: int = 5
) -> Inputs:
    """Files, folders, globs, videos, cameras and addresses as sources.

    Folders are searched with all their subfolders, for the suffixes of images and
    videos; what begins with a dot is passed over, and so are masks and overlays of
    an earlier run. A file that is named twice is read once. Names in the records and
    outputs are relative to the one folder given, or to the folder that all inputs
    have in common, so that equal names in subfolders stay apart.

    Args:
        inputs (Sequence[str]): Paths, globs, 'rtsp://...', or the number of a
            camera. A file whose name is a number is './0'.
        exclude (Path, optional): A folder to leave out: that of the outputs.
        reconnect (int): Attempts to reach a live source again. Defaults to 5.

    Raises:
        DeployError: An input is not there, is of an unknown kind, or holds nothing.

    Example:
        >>> find_inputs(['0']).sources[0].name
        'camera_0'
    """
    search = FileSearch(IMAGES + VIDEOS, exclude)
    found, roots, live = [], [], []
    for text in map(str, inputs):
        if re.fullmatch(r'\d+', text):
            live.append(LiveStream(f'camera_{int(text)}', text, int(text), reconnect))
        elif urlsplit(text).scheme in SCHEMES:
            live.append(_address(text, reconnect))
        else:
            files, root = _files(text, search)
            found += files
            roots.append(root)
    if len(live) > 1:
        raise DeployError(
            f'{len(live)} cameras and addresses were given, '
            f'{", ".join(s.origin for s in live)}; expected one: run the tool once for '
            'each, with a folder (--out) of its own'
        )
    try:
        root = os.path.commonpath(roots) if roots else ''
    except ValueError as error:
        raise DeployError(
            f'the inputs lie on several drives, {", ".join(roots)}; expected one: run '
            'the tool once for each, with a folder (--out) of its own'
        ) from error
    sources, failures = _named(found, root)
    failures += [
        InputError(_origin(folder, root), f'a folder that cannot be read: {reason}')
        for folder, reason in search.unreadable.items()
    ]
    return Inputs(sources + live, root, tuple(failures), tuple(search.left_out))


def _address(text: str, reconnect: int) -> LiveStream:
    # neither the password nor what follows a question mark belongs in the records
    parts = urlsplit(text)
    host = parts.netloc.rpartition('@')[2]
    name = re.sub(r'[^A-Za-z0-9.-]+', '_', f'{parts.scheme}_{host}{parts.path}')
    origin = f'{parts.scheme}://{host}{parts.path}'
    return LiveStream(name.strip('_'), origin, text, reconnect)


def _files(text: str, search: FileSearch) -> tuple[list[str], str]:
    """Absolute paths behind an input, and the folder they are named from."""
    path = os.path.abspath(os.path.expanduser(text))
    if os.path.isdir(path):
        files, root = search.folder(path), path
    elif os.path.exists(path):
        if _suffix(path) not in IMAGES + VIDEOS:
            raise DeployError(
                f'{text}: expected an image ({" ".join(IMAGES)}) or a video '
                f'({" ".join(VIDEOS)}), or a folder of them'
            )
        return [path], os.path.dirname(path)
    elif glob.has_magic(text):
        files, root = search.glob(path)
    else:
        raise DeployError(
            f'{text}: no such file or folder; expected images, videos, folders, globs, '
            f"a camera's number, or an address ({'://, '.join(SCHEMES)}://)"
        )
    if not files and not search.unreadable:
        raise DeployError(
            f'{text}: nothing to read there; expected images ({" ".join(IMAGES)}) or '
            f'videos ({" ".join(VIDEOS)})'
        )
    return files, root


def _named(files: list[str], root: str) -> tuple[list, list[InputError]]:
    """Sources under names of their own: the path without suffix, where that will do.

    Names that differ in case or in the form of their accents only are one to some
    file systems.
    """
    sources, failures, paths, count = [], [], {}, {}
    for path in dict.fromkeys(files):
        origin = _origin(path, root)
        try:
            check_name(origin)
        except InputError as error:
            failures.append(error)
            continue
        paths[path] = origin, os.path.splitext(origin)[0]
    for _, stem in paths.values():
        count[_key(stem)] = count.get(_key(stem), 0) + 1
    taken = {key for key in count if count[key] == 1}
    for path, (origin, stem) in paths.items():
        name = stem
        if count[_key(stem)] > 1:  # a.jpg beside a.png
            name = f'{stem}_{_suffix(path)[1:]}'
            while _key(name) in taken:
                name += '_'
            taken.add(_key(name))
        kind = VideoFile if _suffix(path) in VIDEOS else ImageFile
        sources.append(kind(name, origin, path))
    return sources, failures


def _origin(path: str, root: str) -> str:
    return os.path.relpath(path, root).replace(os.sep, '/')


def _key(name: str) -> str:
    return unicodedata.normalize('NFC', name).casefold()


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()
