"""The states of the random generators, as a file can hold them."""

import random

import numpy as np
import torch


class RandomState:
    """The states of the random generators at one moment.

    Taking them is cheap (36 us), so that it can be done each iteration; only
    :meth:`plain` converts them.

    Args:
        device (torch.device, optional): A GPU whose generator is taken as well.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self._python = random.getstate()
        self._numpy = np.random.get_state()
        self._torch = torch.get_rng_state()
        on_gpu = device is not None and device.type == 'cuda'
        self._cuda = torch.cuda.get_rng_state(device) if on_gpu else None

    def plain(self) -> dict:
        """The states as tensors and numbers, for :meth:`restore`."""
        version, words, gauss = self._python
        _, key, position, has_gauss, cached = self._numpy
        return dict(
            python=dict(version=version, words=torch.tensor(words), gauss=gauss),
            numpy=dict(
                key=torch.from_numpy(key.astype(np.int64)),
                position=int(position),
                has_gauss=int(has_gauss),
                cached=float(cached),
            ),
            torch=self._torch,
            cuda=self._cuda,
        )

    @staticmethod
    def restore(state: dict, device: torch.device | None = None) -> None:
        """Set the generators to what :meth:`plain` gave.

        Args:
            state (dict): From :meth:`plain`.
            device (torch.device, optional): The GPU whose generator is set.
        """
        python, array = state['python'], state['numpy']
        random.setstate(
            (python['version'], tuple(python['words'].tolist()), python['gauss'])
        )
        np.random.set_state(
            (
                'MT19937',
                array['key'].numpy().astype(np.uint32),
                array['position'],
                array['has_gauss'],
                array['cached'],
            )
        )
        torch.set_rng_state(state['torch'])
        on_gpu = device is not None and device.type == 'cuda'
        if state['cuda'] is not None and on_gpu:
            torch.cuda.set_rng_state(state['cuda'], device)
