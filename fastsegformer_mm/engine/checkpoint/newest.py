"""Which checkpoint of a folder a training goes on from."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .errors import CheckpointError
from .read import read_checkpoint

TEMPLATES = ('epoch_{}.pth', 'iter_{}.pth')
# what Runner.resume takes from a checkpoint
_NEEDED = ('meta', 'message_hub', 'state_dict')


@dataclass(frozen=True)
class Newest:
    """What was found: the checkpoint and its place in the training, what was not.

    Attributes:
        path (Path, optional): None where there is no valid checkpoint.
        epoch (int): Epochs trained.
        iter (int): Iterations trained.
        skipped (list[str]): One line for each newer one: name, and what is wrong.
    """

    path: Path | None = None
    epoch: int = 0
    iter: int = 0
    skipped: list[str] = field(default_factory=list)


def newest_checkpoint(
    work_dir,
    folder=None,
    templates: Sequence[str] = TEMPLATES,
    need_optimizer: bool = True,
) -> Newest:
    """The newest checkpoint from which training can go on.

    ``last_checkpoint`` is asked first, for a folder may hold those of an earlier
    training too. It is behind by one where a kill came before it was written: a
    checkpoint that is further and was written later is newer. Those that cannot be
    read whole, or hold no optimizer, are skipped. A ``best_*.pth`` is no candidate,
    as it never holds one.

    Args:
        work_dir (str | Path): Holds ``last_checkpoint``.
        folder (str | Path, optional): Holds the checkpoints. Defaults to None, the
            ``work_dir``.
        templates (Sequence[str]): The names of checkpoints, with {} for the epoch
            or iteration. Defaults to those of MMEngine.
        need_optimizer (bool): Skip those without. Defaults to True.
    """
    folder = Path(folder or work_dir)
    skipped = []
    named, complaint = _named_by_last_checkpoint(Path(work_dir), folder)
    if complaint:
        skipped.append(complaint)
    for path in _newest_first(folder, named, templates):
        try:
            meta = _validate(path, need_optimizer)
        except (CheckpointError, OSError) as error:
            skipped.append(f'{path.name}: {" ".join(str(error).split())}')
            continue
        return Newest(path, meta.get('epoch', 0), meta['iter'], skipped)
    return Newest(skipped=skipped)


def _named_by_last_checkpoint(work_dir: Path, folder: Path):
    """The file that ``last_checkpoint`` names, or what is wrong with it."""
    file = work_dir / 'last_checkpoint'
    if not file.is_file():
        return None, None
    name = file.read_text(encoding='locale', errors='replace').strip()
    if not name:
        return None, 'last_checkpoint: is empty'
    # a folder that was moved or copied holds its own, the path is the old one
    for path in (folder / Path(name).name, Path(name)):
        if path.is_file():
            return path, None
    return None, f'last_checkpoint: names {name}, which is not there'


def _newest_first(folder: Path, named: Path | None, templates) -> list[Path]:
    found = {path: _place(path, templates) for path in folder.glob('*')}
    found = {path: place for path, place in found.items() if place}
    written = {path: path.stat().st_mtime_ns for path in found}
    if named is None:
        if len({template for template, _ in found.values()}) == 1:
            return sorted(found, key=lambda path: found[path][1], reverse=True)
        return sorted(found, key=written.get, reverse=True)
    template, number = _place(named, templates) or (None, 0)
    stamp = named.stat().st_mtime_ns

    def order(path):
        its_template, its_number = found[path]
        if its_template != template:
            return 1, written[path]
        if its_number < number:
            return 2, its_number
        # further, but older: left over from an earlier training in this folder
        return (3 if written[path] >= stamp else 0), its_number

    found.pop(named, None)
    paths = sorted(found, key=order, reverse=True)
    later = sum(order(path)[0] == 3 for path in paths)
    return [*paths[:later], named, *paths[later:]]


def _place(path: Path, templates) -> tuple[str, int] | None:
    """The template of a checkpoint's name and the number in it."""
    if not path.is_file():
        return None
    for template in templates:
        head, _, rest = template.partition('{')
        pattern = f'{re.escape(head)}(\\d+){re.escape(rest.partition("}")[2])}'
        if '{' in template and (match := re.fullmatch(pattern, path.name)):
            return template, int(match[1])
    return None


def _validate(path: Path, need_optimizer: bool) -> dict:
    """Read a checkpoint whole, for its ``meta``."""
    content = read_checkpoint(path)
    needed = (*_NEEDED, 'optimizer') if need_optimizer else _NEEDED
    missing = [key for key in needed if key not in content]
    if missing:
        raise CheckpointError(
            f'has no {", ".join(missing)}: not written to resume from, load_from can '
            'start from its weights'
        )
    if 'iter' not in content['meta'] or 'epoch' not in content['meta']:
        raise CheckpointError('does not say at which epoch and iteration it was made')
    return content['meta']
