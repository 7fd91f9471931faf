"""What all runtimes have in common."""

from abc import ABC, abstractmethod

import numpy as np


class Backend(ABC):
    """A network on a runtime: arrays in, arrays out.

    Args:
        device (str): 'cpu' or 'cuda:N'.
        precision (str): What it computes in: 'fp32', 'bf16', 'fp16' or 'int8'.
        threads (int, optional): CPU threads. None for the runtime's own choice.
        streams (int): Calls of :meth:`infer` that may run side by side, each with its
            share of the threads. Defaults to 1.
        slots (int, optional): Outputs that are kept at a time. Defaults to None, one a
            stream.
    """

    name = ''

    def __init__(
        self,
        device: str,
        precision: str,
        threads: int | None,
        streams: int = 1,
        slots: int | None = None,
    ):
        self.device = device
        self.precision = precision
        self.threads = threads
        self.streams = streams
        self.slots = slots or streams

    @abstractmethod
    def infer(self, *inputs: np.ndarray, slot: int = 0) -> np.ndarray:
        """Run the network.

        Args:
            *inputs (np.ndarray): Of the network: the image, (1, 3, H, W) float32, or
                what an artefact takes instead.
            slot (int): Of ``slots``, the memory for the output. Defaults to 0.

        Returns:
            np.ndarray: Its output, mostly logits, (1, C, H, W) float32. The next call
            with the same slot may write into the same memory.
        """

    def precisions(self) -> tuple[str, ...]:
        """What a float32 network can be computed in, on this machine."""
        return ('fp32',)

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        """As :meth:`infer`; the array returned is the caller's own."""
        return np.array(self.infer(*inputs))

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Version of each package that computes."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the network and its memory."""
