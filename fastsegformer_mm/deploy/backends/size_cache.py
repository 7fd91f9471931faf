"""What is made once for each size of input."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any


class SizeCache:
    """Keeps what a function makes of the shapes asked for last.

    Threads that ask for the same wait until it is made.

    Args:
        make (Callable): From a shape to what is kept.
        limit (int): Shapes kept; that not used for longest goes. Defaults to 4.

    Example:
        >>> double = SizeCache(lambda shape: [2 * side for side in shape])
        >>> double((1, 3)), double((1, 3)) is double((1, 3))
        ([2, 6], True)
    """

    def __init__(self, make: Callable[[tuple[int, ...]], Any], limit: int = 4):
        self.make = make
        self.limit = limit
        self._kept = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, shape: tuple[int, ...]) -> Any:
        """Of one shape."""
        with self._lock:
            if shape not in self._kept:
                # room first: two of a size may not fit
                while len(self._kept) >= self.limit:
                    self._kept.popitem(last=False)
                self._kept[shape] = self.make(shape)
            self._kept.move_to_end(shape)
            return self._kept[shape]
