"""What a worker of Ray does: images in, files and records out."""

import hashlib
import json
import os
import socket
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import DeployError
from .finish import FrameSettings, finish_frame
from .image_file import ImageFile
from .input_error import InputError, fault_of
from .result_writer import write_files
from .run_folder import MANIFEST

# in the folder of outputs: a file for each image in work, which stays when its
# worker dies
NOTES = '.work'
# characters that a note has in common with others of its image
KEY = 32


class RayWorker:
    """Segments batches of image files and writes their masks and overlays.

    A batch may come a second time, after the death of a worker, even while the first
    one still works on it: files are replaced at once, by equal ones. Nothing is
    raised, since Ray would repeat or log it: what goes wrong comes back as a row.

    Args:
        build (Callable): Makes the segmentor.
        settings (FrameSettings): What is made of a frame.
        folder (str): Absolute path of the outputs, which is to be the same folder on
            all machines.
        manifest (bytes): Content of its manifest, by which it is known.
        retries (int): How often an image is tried again whose worker has died.
            Defaults to 2.
    """

    def __init__(
        self,
        build: Callable,
        settings: FrameSettings,
        folder: str,
        manifest: bytes,
        retries: int = 2,
    ):
        self.settings, self.folder, self.retries = settings, Path(folder), retries
        self._notes = self.folder / NOTES
        self._error = None
        try:
            self._check_folder(manifest)
            self.segmentor = build()
        except Exception as error:
            self._error = error

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Work off a batch.

        Args:
            batch (dict[str, np.ndarray]): 'name', 'origin' and 'path' of image files.

        Returns:
            dict[str, np.ndarray]: 'row': JSON for each image. With 'origin' it has
            'record', 'seconds' and 'remark', or 'failure', of which an InputError is
            made; or it is the last one and has 'error', what the run ends of.
        """
        rows = []
        try:
            if self._error is not None:
                raise self._error
            deaths = Counter(name[:KEY] for name in os.listdir(self._notes))
            for values in zip(batch['name'], batch['origin'], batch['path']):
                rows.append(self._predict(ImageFile(*map(str, values)), deaths))
        except Exception as error:
            known = isinstance(error, (DeployError, OSError))
            text = str(error) if known else repr(error)
            rows.append({'error': f'{text} (on {socket.gethostname()})'})
        texts = [json.dumps(row, ensure_ascii=False) for row in rows]
        return {'row': np.array(texts, dtype=object)}

    def _predict(self, source, deaths):
        key = hashlib.sha256(source.origin.encode()).hexdigest()[:KEY]
        if deaths[key] > self.retries:
            reason = (
                f'its worker died {deaths[key]} times. If only this image does that, '
                'leave it out; if others do too, look for too little memory (fewer '
                '--workers)'
            )
            return {'origin': source.origin, 'failure': [source.origin, reason, True]}
        note = self._notes / f'{key}-{uuid.uuid4().hex}'
        note.touch()
        try:
            row = self._row(source)
        finally:
            note.unlink(missing_ok=True)
        return {'origin': source.origin, **row}

    def _row(self, source):
        try:
            frame = source.read(self.settings.depth)
            with fault_of(frame.origin):
                found = self.segmentor.segment(frame.image)
            done = finish_frame(frame, found, self.settings)
            write_files(done.files, self.folder, source.origin)
        except InputError as error:
            return {'failure': [error.origin, error.reason, error.doubtful]}
        return {
            'record': done.record,
            'seconds': done.seconds,
            'remark': done.remark,
        }

    def _check_folder(self, manifest):
        path = self.folder / MANIFEST
        try:
            same = path.read_bytes() == manifest
        except OSError:
            same = False
        if not same:
            raise DeployError(
                f'{self.folder} is not the folder that the run was begun in; expected '
                'one that all machines share, under the same path'
            )

