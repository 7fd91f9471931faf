"""The folder of a prediction, which an interrupted run goes on in."""

import contextlib
import json
import os
import uuid
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import DeployError
from .input_error import InputError
from .names import as_json
from .record_files import CSV, JSONL, read_records, repair

MANIFEST, REPORT, FAILURES = 'manifest.json', 'run.json', 'failures.jsonl'
PARTS = ('masks', 'overlays')


class RunFolder:
    """Keeps what was done by which model, and what is left.

    Use it as a context manager: meanwhile nobody else can write into the folder.

    Args:
        path (str | Path): The folder; it is made.
        identity (dict): JSON of the model and the options that decide what comes
            out. A run goes on only where these are the same.
        overwrite (bool): Remove what an earlier run left, by its records, and begin
            anew. Defaults to False.

    Attributes:
        done (set[str]): Origins of images and videos that are complete.
        next_frame (dict[str, int]): Number of the next frame of each live stream.
        kept (int): Records of earlier runs.

    Raises:
        DeployError: Another run with other settings has left its records there,
            another run is writing there, or it is no folder.
    """

    def __init__(self, path, identity: dict, overwrite: bool = False):
        self.path = Path(path)
        self.done, self.next_frame, self.kept = set(), {}, 0
        # as it comes back from the file
        self._identity = json.loads(as_json(identity))
        self._overwrite = overwrite
        self._videos = {}
        self._made = set()
        # released where it was taken, whichever thread that is
        self._lock = FileLock(self.path / '.lock', timeout=0, thread_local=False)

    def __enter__(self):
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout as error:
            raise DeployError(
                f'another run is writing into {self.path}: wait for its end, or give '
                'another folder by --out'
            ) from error
        except OSError as error:
            raise DeployError(
                f'{self.path}: cannot be written to ({error.strerror}); expected a '
                'folder for the outputs, give another by --out'
            ) from error
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *error):
        self._lock.release()

    def resume(self, sources: Sequence) -> None:
        """Find out what is complete, and bring the records into order.

        An image is complete when its record and files are there and it has not been
        changed since; a video when its last frame is in the records.

        Args:
            sources (Sequence): What is to be read.
        """
        live = any(source.kind == 'live' for source in sources)
        for leftover in self.path.glob('.*.tmp'):
            leftover.unlink()
        for part in PARTS:
            for leftover in (self.path / part).rglob('.*.tmp*'):
                if live and leftover.suffix == '.mkv':
                    _rescue(leftover)
                else:
                    leftover.unlink()
        by_origin = {source.origin: source for source in sources}

        def keep(record):
            origin, source = record['source'], by_origin.get(record['source'])
            if record['at'] is not None:  # of a live stream: nothing can be repeated
                self.next_frame[origin] = record['frame'] + 1
                return True
            if record['frame'] is None:
                stamp = record['stamp']
            else:
                stamp = self._videos.get(origin)
            if stamp is None or not self._files_there(record):
                return False
            if source is not None:
                with contextlib.suppress(InputError):
                    if list(source.stamp()) != stamp:
                        return False
            self.done.add(origin)
            return True

        self.kept = repair(self.path, keep)
        # videos without a single record, as by --max-frames 0, are not known as done
        self._videos = {k: v for k, v in self._videos.items() if k in self.done}
        self._write_manifest()

    def complete(self, source) -> None:
        """Note that every frame of a video is in the records."""
        self._videos[source.origin] = list(source.stamp())
        self._write_manifest()

    def write(self, name: str, content: bytes) -> None:
        """Write a file as a whole or not at all.

        Args:
            name (str): Its path in the folder.
            content (bytes): What is in it.
        """
        replace_file(self.path / name, content)

    def place(self, name: str) -> Path:
        """The path of a file to be written; its folder is made."""
        target = self.path / name
        if target.parent not in self._made:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(target.parent)
        return target

    def _open(self):
        before = self._manifest()
        if self._overwrite:
            self._remove_outputs()
            before = None
        elif before is None and (self.path / JSONL).exists():
            raise DeployError(
                f'{self.path} has a {JSONL} but no {MANIFEST} that tells what made it; '
                'give another folder by --out, or --overwrite'
            )
        if before is not None:
            self._compare(before.get('identity') or {})
            self._videos = dict(before.get('videos') or {})
        for name in (REPORT, FAILURES):
            (self.path / name).unlink(missing_ok=True)
        self._write_manifest()

    def _compare(self, before):
        for key in sorted({*before, *self._identity}):
            old, new = before.get(key), self._identity.get(key)
            if old != new:
                old, new = (json.dumps(v, ensure_ascii=False) for v in (old, new))
                raise DeployError(
                    f'{self.path} holds the outputs of another run: {key} was '
                    f'{_short(old)}, now it is {_short(new)}. Give another folder by '
                    '--out, or --overwrite to begin anew'
                )

    def _manifest(self):
        path = self.path / MANIFEST
        if not path.exists():
            return None
        try:
            content = json.loads(path.read_text(encoding='utf-8'))
            return content if isinstance(content, dict) else {}
        except (OSError, ValueError):
            return {}

    def _write_manifest(self):
        content = {'identity': self._identity, 'videos': self._videos}
        self.write(MANIFEST, as_json(content, indent=1))

    def _remove_outputs(self):
        """Remove what the records name, nothing else that may lie there."""
        inside = tuple((self.path / part).resolve() for part in PARTS)
        for record in read_records(self.path):
            for key in ('mask', 'overlay'):
                path = record.get(key) and (self.path / record[key]).resolve()
                if path and any(folder in path.parents for folder in inside):
                    path.unlink(missing_ok=True)
        for name in (JSONL, CSV):
            (self.path / name).unlink(missing_ok=True)

    def _files_there(self, record):
        names = [record[key] for key in ('mask', 'overlay') if record[key]]
        try:
            return all((self.path / name).stat().st_size for name in names)
        except OSError:
            return False


def replace_file(path: Path, content: bytes) -> None:
    """Write a file as a whole or not at all, whoever else writes it meanwhile.

    Args:
        path (Path): The file; its folder is made.
        content (bytes): What is in it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # short: where the name itself just fits, so does this one
    temporary = path.with_name(f'.{uuid.uuid4().hex}.tmp')
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _short(text, most=200):
    return text if len(text) <= most else f'{text[:most]}...'


def _rescue(video):
    """Keep what a killed run has written of a camera, which cannot be read again.

    Matroska plays as far as it was written.
    """
    stem = video.name.removeprefix('.').removesuffix('.tmp.mkv')
    number = 1
    while (kept := video.with_name(f'{stem}.broken-off-{number}.mkv')).exists():
        number += 1
    video.rename(kept)
