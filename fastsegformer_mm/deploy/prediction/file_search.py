"""Files behind folders and globs, and what on the way is not taken."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import DeployError
from .record_files import JSONL
from .run_folder import MANIFEST, PARTS, REPORT


class FileSearch:
    """Searches folders with all their subfolders, and globs.

    Names that begin with a dot are passed over, and so are masks and overlays of
    earlier runs.

    Args:
        suffixes (Sequence[str]): Of the files wanted, in lower case, with the dot.
        exclude (Path, optional): A folder to leave out. Defaults to None.

    Attributes:
        unreadable (dict[str, str]): Folders that could not be looked into, with the
            reasons.
        left_out (list[str]): Folders of earlier runs whose outputs were met.
    """

    def __init__(self, suffixes: Sequence[str], exclude: Path | None = None):
        self.suffixes = tuple(suffixes)
        self.exclude = exclude and os.path.realpath(exclude)
        self.unreadable, self.left_out = {}, []
        self._results = {}

    def folder(self, folder: str) -> list[str]:
        """The files in a folder, in the order of their names.

        Raises:
            DeployError: The folder itself cannot be looked into.
        """
        files = self._walk(folder)
        if folder in self.unreadable:
            raise DeployError(
                f'{folder}: {self.unreadable[folder]}; expected a folder to read from'
            )
        return files

    def glob(self, pattern: str) -> tuple[list[str], str]:
        """The files that a pattern names, in it or in folders that it names.

        Returns:
            tuple[list[str], str]: The files, and the folder that the pattern begins
            in.
        """
        root, folders = pattern, set()
        while glob.has_magic(root):
            root = os.path.dirname(root)
            # what glob looks into; it passes over what it cannot read
            folders.update(glob.glob(os.path.join(root, ''), recursive=True))
        for folder in sorted(folders):
            try:
                os.scandir(folder).close()
            except OSError as error:
                self._note(error, folder)
        files = []
        for match in sorted(glob.glob(pattern, recursive=True)):
            if self._of_results(match, root):
                continue
            if os.path.isdir(match):
                files += self._walk(match)
            elif self._wanted(match):
                files.append(match)
        return files, root

    def _walk(self, folder):
        files, seen = [], set()
        for where, folders, names in os.walk(
            folder, onerror=self._note, followlinks=True
        ):
            real = os.path.realpath(where)
            if real in seen:  # a link to a folder above
                folders.clear()
                continue
            seen.add(real)
            folders[:] = sorted(
                name
                for name in folders
                if not name.startswith('.') and not self._is_output(where, name)
            )
            files += [
                path
                for path in (os.path.join(where, name) for name in sorted(names))
                if self._wanted(path)
            ]
        return files

    def _note(self, error, folder=None):
        folder = os.path.normpath(folder or error.filename)
        self.unreadable[folder] = error.strerror or str(error)

    def _wanted(self, path):
        name = os.path.basename(path).lower()
        if name.startswith('.') or not name.endswith(self.suffixes):
            return False
        if self.exclude is None:
            return True
        return Path(self.exclude) not in Path(os.path.realpath(path)).parents

    def _is_output(self, folder, name):
        """Whether ``name`` in ``folder`` is where an earlier run has put its files."""
        if name not in PARTS:
            return False
        if folder not in self._results:
            held = [
                os.path.isfile(os.path.join(folder, n))
                for n in (JSONL, MANIFEST, REPORT)
            ]
            self._results[folder] = held[0] and any(held[1:])
            if self._results[folder] and os.path.realpath(folder) != self.exclude:
                self.left_out.append(folder)
        return self._results[folder]

    def _of_results(self, path, root):
        """Whether a path lies among the outputs of an earlier run below ``root``."""
        while len(path) > len(root) and path != os.path.dirname(path):
            folder, name = os.path.split(path)
            if len(folder) >= len(root) and self._is_output(folder, name):
                return True
            path = folder
        return False
