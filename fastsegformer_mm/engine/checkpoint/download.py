"""A URL's file, once in the cache and only when it is sound."""

import os
import sys
from pathlib import Path
from urllib.parse import urlparse

import torch
from mmengine.dist import broadcast_object_list, get_dist_info

from .errors import CheckpointError


def fetch(url: str, read):
    """Read a URL's file, from PyTorch's hub cache or downloaded into it.

    Of several processes the first downloads; when it fails, all do.

    Args:
        url (str): ``http(s)://...``; its last part names the file in the cache.
        read (Callable): Takes a path, gives the file's content or raises
            ``CheckpointError``. A download that it refuses is not kept.

    Returns:
        What ``read`` gives.

    Raises:
        CheckpointError: The file cannot be downloaded, or is refused.
    """
    cached = Path(torch.hub.get_dir(), 'checkpoints', Path(urlparse(url).path).name)
    rank, world_size = get_dist_info()
    content = error = None
    if rank == 0:
        try:
            content = _read(url, cached, read)
        except CheckpointError as found:
            error = found
    if world_size > 1:
        # the others would wait for a failed one until the timeout
        told = [error and str(error)]
        broadcast_object_list(told)
        if rank > 0:
            if told[0]:
                raise CheckpointError(told[0])
            # of another node perhaps, with a cache of its own
            content = _read(url, cached, read)
    if error:
        raise error
    return content


def _read(url, cached, read):
    if cached.is_file():
        try:
            return read(cached)
        except CheckpointError as error:
            raise CheckpointError(
                f'{error}. It was downloaded earlier, as {cached}: delete that file '
                'to have it downloaded again'
            ) from error
    partial = cached.with_name(f'.{cached.name}.{os.getpid()}.partial')
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, partial, progress=sys.stderr.isatty())
        content = read(partial)
        partial.replace(cached)
    except OSError as error:
        raise CheckpointError(
            f'checkpoint {url!r} cannot be downloaded ({error}): give a URL that this '
            'machine can reach, or the path of a file'
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return content
