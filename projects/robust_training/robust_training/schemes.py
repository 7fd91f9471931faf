"""MMEngine reads every checkpoint through the safe reader.

``load_from``, ``resume``, ``init_cfg``, MMSegmentation's ``init_model`` and
inferencers, and the loading that some backbones do themselves all ask MMEngine's
``CheckpointLoader``, which has a loader for each kind of path; they are replaced
here. MMEngine's own differ between the stacks: upstream's refuse what its Runner
has written, and OneDL's fall back to pickle, which runs what a file holds.
"""

import os
import tempfile
from pathlib import Path

from mmengine.fileio import get_file_backend
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint

from fastsegformer_mm.engine.checkpoint.contents import some
from fastsegformer_mm.engine.checkpoint.errors import CheckpointError
from fastsegformer_mm.engine.checkpoint.read import UNSAFE, read_checkpoint, read_file

from .config_text import harmless_config


def load_from_local(filename, map_location=None):
    """A file."""
    return harmless_config(read_checkpoint(filename, map_location), filename)


def load_from_http(filename, map_location=None):
    """``http(s)://``: downloaded once, into the hub cache."""
    return harmless_config(read_checkpoint(filename, map_location), filename)


def load_from_unsafe_pickle(filename, map_location=None):
    """``unsafe-pickle://``: with whatever the file holds, its config too."""
    return read_checkpoint(filename, map_location)


def load_from_torchvision(filename, map_location=None):
    """``torchvision://NAME``, ``modelzoo://NAME``: by torchvision's table of URLs."""
    table = mmengine_checkpoint.get_torchvision_models()
    return load_from_http(_look_up(filename, table), map_location)


def load_from_openmmlab(filename, map_location=None):
    """``open-mmlab://NAME``, ``openmmlab://NAME``: by MMEngine's table."""
    renamed = mmengine_checkpoint.get_deprecated_model_names()
    scheme, _, name = filename.partition('://')
    found = _look_up(
        f'{scheme}://{renamed.get(name, name)}',
        mmengine_checkpoint.get_external_models(),
    )
    if found.startswith(('http://', 'https://')):
        return load_from_http(found, map_location)
    # a user's table, MMENGINE_HOME/open_mmlab.json, may name files beside it
    return load_from_local(os.path.join(_mmengine_home(), found), map_location)


def load_from_mmcls(filename, map_location=None):
    """``mmcls://NAME``: the backbone of a classifier, by MMEngine's table."""
    content = load_from_http(
        _look_up(filename, mmengine_checkpoint.get_mmcls_models()), map_location
    )
    weights = content.get('state_dict', content)
    return dict(
        state_dict={
            k.removeprefix('backbone.'): v
            for k, v in weights.items()
            if k.startswith('backbone.')
        }
    )


def load_from_ceph(filename, map_location=None):
    """``s3://``, ``petrel://``: by MMEngine's storage backend."""
    backend = get_file_backend(filename, backend_args=dict(backend='petrel'))
    return _load_bytes(backend.get(filename), filename, map_location)


def load_from_pavi(filename, map_location=None):
    """``pavi://``: by the client of that model store."""
    try:
        from pavi import modelcloud
    except ImportError as error:
        raise ImportError(
            f'checkpoint {filename!r}: pavi:// needs the package pavi; install it, or '
            'give the path of a file'
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, 'checkpoint')
        modelcloud.get(filename.removeprefix('pavi://')).download(file)
        content = read_file(Path(file), filename, map_location)
    return harmless_config(content, filename)


def _load_bytes(data, filename, map_location):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, 'checkpoint')
        file.write_bytes(data)
        content = read_file(file, filename, map_location)
    return harmless_config(content, filename)


def _look_up(filename, table):
    """The URL of a name in a table of MMEngine's."""
    scheme, _, name = filename.partition('://')
    if name not in table:
        near = sorted(n for n in table if n.split('/')[-1][:4] == name[:4])
        raise CheckpointError(
            f'checkpoint {filename!r} is not in the table of {scheme}:// '
            f'({len(table)} names, such as {some(near or sorted(table), 5)}): give '
            'one of them, a URL or the path of a file'
        )
    return table[name]


def _mmengine_home():
    cache = os.getenv('XDG_CACHE_HOME', '~/.cache')
    home = os.getenv('MMENGINE_HOME', os.path.join(cache, 'mmengine'))
    return os.path.expanduser(home)


LOADERS = {
    '': load_from_local,
    ('http://', 'https://'): load_from_http,
    UNSAFE: load_from_unsafe_pickle,
    ('modelzoo://', 'torchvision://'): load_from_torchvision,
    ('open-mmlab://', 'openmmlab://'): load_from_openmmlab,
    'mmcls://': load_from_mmcls,
    # regular expressions, as MMEngine has them
    (r'(\S+\:)?s3://', r'(\S+\:)?petrel://'): load_from_ceph,
    'pavi://': load_from_pavi,
}


def install_loaders() -> None:
    """Register the loaders with MMEngine, in place of its own; idempotent."""
    for prefixes, loader in LOADERS.items():
        CheckpointLoader.register_scheme(prefixes, loader, force=True)
