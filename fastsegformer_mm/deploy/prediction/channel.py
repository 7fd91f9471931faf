"""What threads hand to each other."""

import threading
from collections import deque


class Channel:
    """A queue of bounded length that can be closed from either end.

    ``queue.Queue`` of Python before 3.13 cannot be: a thread that waits for the
    other side of it, which has died, waits for ever.

    Args:
        size (int): Items that wait at most.
        stop (threading.Event, optional): As soon as it is set, nothing more comes
            out. Defaults to None.

    Attributes:
        longest (int): Most items that have ever waited.
        dropped (int): Items that newer ones have taken the place of.

    Example:
        >>> channel = Channel(2)
        >>> channel.put('a'), channel.put('b')
        (True, True)
        >>> channel.close()
        >>> list(channel)
        ['a', 'b']
    """

    def __init__(self, size: int, stop: threading.Event | None = None):
        self.size = size
        self.longest = 0
        self.dropped = 0
        self._stop = stop or threading.Event()
        self._items = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item, newest: bool = False) -> bool:
        """Add an item; wait while there is no room.

        Args:
            item: Anything.
            newest (bool): Take the place of items that were put so and still wait:
                whoever reads a camera wants what it sees now. Defaults to False.

        Returns:
            bool: Whether anybody will read it: False once closed.
        """
        with self._changed:
            if newest:
                kept = [entry for entry in self._items if not entry[1]]
                self.dropped += len(self._items) - len(kept)
                self._items = deque(kept)
            while len(self._items) >= self.size and not self._done():
                # a signal's handler sets the event without waking anybody
                self._changed.wait(0.1)
            if self._done():
                return False
            self._items.append((item, newest))
            self.longest = max(self.longest, len(self._items))
            self._changed.notify_all()
            return True

    def close(self) -> None:
        """Nothing more goes in; what waits can still be read."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abort(self) -> None:
        """Nothing more goes in or comes out."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self):
        while True:
            with self._changed:
                while not self._items and not self._done():
                    self._changed.wait(0.1)
                if self._stop.is_set() or not self._items:
                    return
                item, _ = self._items.popleft()
                self._changed.notify_all()
            yield item

    def _done(self) -> bool:
        return self._closed or self._stop.is_set()
