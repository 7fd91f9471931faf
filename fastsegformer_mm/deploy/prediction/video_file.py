"""A video file as a source of frames."""

import time
from collections.abc import Iterator

import cv2

from .frame import Frame
from .input_error import InputError
from .source_file import SourceFile


class VideoFile(SourceFile):
    """A video file; every frame of it is read, however long that takes."""

    kind = 'video'

    def count(self) -> int:
        """How many frames the file says that it has; 0 where it does not say.

        Raises:
            InputError: It is no video.
        """
        capture = self._open()
        try:
            return max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        finally:
            capture.release()

    def frames(self, every: int = 1, most: int | None = None) -> Iterator[Frame]:
        """Yield the frames.

        Args:
            every (int): Only each so-manieth. Defaults to 1, all.
            most (int, optional): At most so many. Defaults to None, all.

        Raises:
            InputError: It is no video, or ends long before the end that it states;
                the frames up to there were yielded.
        """
        capture = self._open()
        try:
            rate = stated_rate(capture)
            total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
            index = given = 0
            while most is None or given < most:
                start = time.perf_counter()
                if not capture.grab():
                    break
                if index % every == 0:
                    seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                    ok, image = capture.retrieve()
                    if not ok:
                        break
                    yield Frame(
                        image,
                        self.origin,
                        self.name,
                        index,
                        # some containers have no times
                        round(seconds if seconds > 0 else index / rate, 6),
                        rate=rate,
                        reading=time.perf_counter() - start,
                    )
                    given += 1
                index += 1
            else:
                return
            # what a container states is an estimate in some
            if index < 0.98 * total - 2:
                raise InputError(
                    self.origin,
                    f'ends after {index} of {total} frames: the file is damaged or '
                    'was cut off; those up to there are in the records',
                )
            if not index:
                raise InputError(self.origin, 'a video without any frame')
        finally:
            capture.release()

    def _open(self):
        self.stamp()
        capture = cv2.VideoCapture(self.path, cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise InputError(
                self.origin,
                'cannot be opened: no video, a damaged one, or a codec '
                'that OpenCV does not have',
            )
        return capture


def stated_rate(capture) -> float:
    """Frames a second of a video that is open; 25 where it states none."""
    rate = capture.get(cv2.CAP_PROP_FPS)
    return rate if 0 < rate < 1000 else 25.0
