"""Everything that a prediction writes, by one thread."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from .finish import Finished
from .input_error import InputError, writing_failed
from .names import as_json
from .record_files import RecordFiles
from .run_folder import FAILURES, RunFolder, replace_file
from .video_sink import VideoSink


@dataclass(frozen=True)
class StreamSettings:
    """How videos and live streams are read and written.

    Args:
        every (int): Only each so-manieth frame. Defaults to 1, all.
        most (int, optional): Frames of each video or stream at most. Defaults to
            None, all.
        minutes (float): Length of a file written of a live stream, after which the
            next begins: what a power cut can cost at most. Defaults to 10.
        container (str): Of overlay videos. 'mp4' plays everywhere; 'mkv' can be
            played up to a power cut. Defaults to 'mp4'.
    """

    every: int = 1
    most: int | None = None
    minutes: float = 10.0
    container: str = 'mp4'


class ResultWriter:
    """Writes files and records of finished frames.

    Args:
        folder (RunFolder): Where to.
        streams (StreamSettings): Of videos.
    """

    def __init__(self, folder: RunFolder, streams: StreamSettings):
        self._folder, self._streams = folder, streams
        self._records = RecordFiles(folder.path)
        self._sinks = {}

    def write(self, finished: Finished) -> None:
        """Write a frame: its files first, so that what is recorded is there.

        Raises:
            InputError: The file system does not take the name of a file.
            OSError: Nothing can be written, as on a full disk.
        """
        write_files(finished.files, self._folder.path, finished.frame.origin)
        if finished.frame.index is not None:
            self._write_video(finished)
        self._records.append(finished.record)

    def fail(self, error: InputError) -> None:
        """Note what the run goes on without."""
        entry = {'source': error.origin, 'reason': error.reason}
        with open(self._folder.path / FAILURES, 'ab') as file:
            file.write(as_json(entry) + b'\n')

    def end(self, source, complete: bool) -> None:
        """A video or stream has ended.

        Args:
            source (VideoFile | LiveStream): The one.
            complete (bool): Whether up to its own end, or the last frame wanted.
        """
        self._close_sinks()
        if complete and source.kind == 'video':
            self._folder.complete(source)

    def close(self) -> None:
        """Complete all files."""
        with contextlib.ExitStack() as stack:
            # each, even where one before it fails
            stack.callback(self._records.close)
            stack.callback(self._close_sinks)

    def _write_video(self, finished):
        pictures = {
            'overlay': (finished.overlay, 'overlays', self._streams.container),
            'mask': (finished.mask, 'masks', 'mkv'),
        }
        pictures = {k: v for k, v in pictures.items() if v[0] is not None}
        if self._sinks and self._full(finished):
            self._close_sinks()
        if not self._sinks and pictures:
            self._open_sinks(finished.frame, pictures)
        for key, (picture, *_) in pictures.items():
            name, sink = self._sinks[key]
            sink.write(picture)
            finished.record[key] = name

    def _full(self, finished):
        """Whether the open files are complete: long enough, or of another size."""
        _, sink = next(iter(self._sinks.values()))
        frame = finished.frame
        size = finished.record['height'], finished.record['width']
        seconds = sink.count * self._streams.every / frame.rate
        return sink.size != size or (
            frame.at is not None and seconds >= 60 * self._streams.minutes
        )

    def _open_sinks(self, frame, pictures):
        rate = max(frame.rate / self._streams.every, 1)
        number = 1 if frame.at is not None else 0
        while True:
            stem = frame.name + (f'-{number:06d}' if number else '')
            names = {
                key: f'{folder}/{stem}.{suffix}'
                for key, (_, folder, suffix) in pictures.items()
            }
            # a video that is read again replaces its file, except its own first part
            known = number == 0 and frame.index == 0
            if known or not any(
                (self._folder.path / n).exists() for n in names.values()
            ):
                break
            number += 1
        for key, (picture, *_) in pictures.items():
            try:
                place = self._folder.place(names[key])
                sink = VideoSink(place, rate, picture.shape[:2], key == 'mask')
            except OSError as error:
                raise writing_failed(error, names[key], frame.origin) from error
            self._sinks[key] = names[key], sink

    def _close_sinks(self):
        with contextlib.ExitStack() as stack:
            for _, sink in self._sinks.values():
                stack.callback(sink.close)
            self._sinks = {}


def write_files(files: dict[str, bytes], folder: Path, origin: str) -> None:
    """Write the files of an image, all or none of them.

    Args:
        files (dict[str, bytes]): Content by path in the folder.
        folder (Path): That of the outputs.
        origin (str): Name of the image in the records.

    Raises:
        InputError: The file system does not take one of the names.
        OSError: Nothing can be written, as on a full disk.
    """
    written = []
    for name, content in files.items():
        try:
            replace_file(folder / name, content)
        except OSError as error:
            problem = writing_failed(error, name, origin)
            for path in written:
                path.unlink(missing_ok=True)
            raise problem from error
        written.append(folder / name)
