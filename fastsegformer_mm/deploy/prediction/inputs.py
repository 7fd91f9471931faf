"""From what the user names to the files and streams to be read."""

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import DeployError
from .image_file import ImageFile
from .live_stream import LiveStream
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
    """

    sources: list
    root: str


def find_inputs(
    inputs: Sequence[str], exclude: Path | None = None, reconnect: int = 5
) -> Inputs:
    """Files, folders, globs, videos, cameras and addresses as sources.

    Folders are searched with all their subfolders, for the suffixes of images and
    videos; what begins with a dot is passed over. A file that is named twice is
    read once. Names in the records and outputs are relative to the one folder
    given, or to the folder that all inputs have in common, so that equal names in
    subfolders stay apart.

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
    exclude = Path(exclude).resolve() if exclude else None
    found, roots, live = [], [], []
    for text in map(str, inputs):
        if re.fullmatch(r'\d+', text):
            live.append(LiveStream(f'camera_{int(text)}', text, int(text), reconnect))
        elif urlsplit(text).scheme in SCHEMES:
            live.append(_address(text, reconnect))
        else:
            files, root = _files(text, exclude)
            found += files
            roots.append(root)
    if len(live) > 1:
        raise DeployError(
            f'{len(live)} cameras and addresses were given, '
            f'{", ".join(s.origin for s in live)}; expected one: run the tool once for '
            'each, with a folder (--out) of its own'
        )
    root = os.path.commonpath(roots) if roots else ''
    return Inputs(_named(found, root) + live, root)


def _address(text: str, reconnect: int) -> LiveStream:
    # neither the password nor what follows a question mark belongs in the records
    parts = urlsplit(text)
    host = parts.netloc.rpartition('@')[2]
    name = re.sub(r'[^A-Za-z0-9.-]+', '_', f'{parts.scheme}_{host}{parts.path}')
    origin = f'{parts.scheme}://{host}{parts.path}'
    return LiveStream(name.strip('_'), origin, text, reconnect)


def _files(text: str, exclude: Path | None) -> tuple[list[str], str]:
    """Absolute paths behind an input, and the folder they are named from."""
    path = os.path.abspath(os.path.expanduser(text))
    if os.path.isdir(path):
        files, root = _walk(path, exclude), path
    elif os.path.exists(path):
        if _suffix(path) not in IMAGES + VIDEOS:
            raise DeployError(
                f'{text}: expected an image ({" ".join(IMAGES)}) or a video '
                f'({" ".join(VIDEOS)}), or a folder of them'
            )
        return [path], os.path.dirname(path)
    elif glob.has_magic(text):
        files = []
        for match in sorted(glob.glob(path, recursive=True)):
            if os.path.isdir(match):
                files += _walk(match, exclude)
            elif _wanted(match, exclude):
                files.append(match)
        root = path
        while glob.has_magic(root):
            root = os.path.dirname(root)
    else:
        raise DeployError(
            f'{text}: no such file or folder; expected images, videos, folders, globs, '
            f"a camera's number, or an address ({'://, '.join(SCHEMES)}://)"
        )
    if not files:
        raise DeployError(
            f'{text}: nothing to read there; expected images ({" ".join(IMAGES)}) or '
            f'videos ({" ".join(VIDEOS)})'
        )
    return files, root


def _walk(folder: str, exclude: Path | None) -> list[str]:
    files, seen = [], set()
    for where, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        if real in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        files += [
            path
            for path in (os.path.join(where, name) for name in sorted(names))
            if _wanted(path, exclude)
        ]
    return files


def _wanted(path: str, exclude: Path | None) -> bool:
    if os.path.basename(path).startswith('.') or _suffix(path) not in IMAGES + VIDEOS:
        return False
    return exclude is None or exclude not in Path(os.path.realpath(path)).parents


def _named(files: list[str], root: str) -> list:
    """Sources under names of their own: the path without suffix, where that will do."""
    paths = list(dict.fromkeys(files))
    origins = [os.path.relpath(path, root).replace(os.sep, '/') for path in paths]
    stems = [os.path.splitext(origin)[0] for origin in origins]
    count = {}
    for stem in stems:
        count[stem] = count.get(stem, 0) + 1
    taken, sources = {stem for stem in stems if count[stem] == 1}, []
    for path, origin, stem in zip(paths, origins, stems):
        name = stem
        if count[stem] > 1:  # a.jpg beside a.png
            name = f'{stem}_{_suffix(path)[1:]}'
            while name in taken:
                name += '_'
            taken.add(name)
        kind = VideoFile if _suffix(path) in VIDEOS else ImageFile
        sources.append(kind(name, origin, path))
    return sources


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()
