"""A camera or network stream as a source of frames."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

import cv2

from .frame import Frame
from .input_error import InputError
from .video_file import stated_rate

OPEN_MS, READ_MS = 10_000, 10_000
LONGEST_WAIT = 30.0


@dataclass(frozen=True)
class LiveStream:
    """A camera, or the address of a stream.

    Args:
        name (str): Where its outputs lie, without folder and suffix.
        origin (str): Its name in the records, without password.
        address (str | int): What OpenCV opens.
        reconnect (int): Attempts in a row to reach it again, after 1, 2, 4... up to
            30 seconds each, before it is given up. Defaults to 5.
    """

    name: str
    origin: str
    address: str | int
    reconnect: int = 5
    kind = 'live'

    def frames(
        self,
        every: int = 1,
        most: int | None = None,
        first: int = 0,
        stop: threading.Event | None = None,
        say: Callable = print,
    ) -> Iterator[Frame]:
        """Yield frames until ``stop`` is set; connect again when the stream breaks.

        Args:
            every (int): Only each so-manieth. Defaults to 1, all.
            most (int, optional): At most so many. Defaults to None, without end.
            first (int): Number of the first frame. Defaults to 0.
            stop (threading.Event, optional): Ends it.
            say (Callable): Told when a connection is lost.

        Raises:
            InputError: It could not be reached ``reconnect`` times in a row.
        """
        stop = stop or threading.Event()
        attempts, index, given, begin = 0, first, 0, time.monotonic()
        while not stop.is_set():
            capture = open_capture(self.address)
            try:
                while not stop.is_set() and (most is None or given < most):
                    start = time.perf_counter()
                    ok, image = capture.read()
                    if not ok:
                        break
                    attempts = 0
                    if (index - first) % every == 0:
                        yield Frame(
                            image,
                            self.origin,
                            self.name,
                            index,
                            round(time.monotonic() - begin, 6),
                            datetime.now(timezone.utc).isoformat(),
                            rate=stated_rate(capture),
                            reading=time.perf_counter() - start,
                        )
                        given += 1
                    index += 1
                else:
                    return
            finally:
                capture.release()
            attempts += 1
            if attempts > self.reconnect:
                raise InputError(
                    self.origin,
                    f'no picture after {self.reconnect} attempts to connect again; is '
                    'it switched on, is the address right, is it in use elsewhere?',
                )
            wait = min(2.0 ** (attempts - 1), LONGEST_WAIT)
            say(
                f'{self.origin}: no picture; attempt {attempts} of {self.reconnect} '
                f'in {wait:.0f} s'
            )
            stop.wait(wait)


def open_capture(address):
    """OpenCV's reader of a camera or address; it gives up where nothing comes."""
    if isinstance(address, int):
        return cv2.VideoCapture(address)
    limits = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        OPEN_MS,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        READ_MS,
    ]
    return cv2.VideoCapture(address, cv2.CAP_FFMPEG, limits)
