"""Reads the small golden copy in this folder, or one like it; see README.md."""

import json
import runpy
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
NAMES = sorted(p.stem for p in HERE.glob('*.json'))
recipe = runpy.run_path(str(HERE / 'recipe.py'))


def manifest(name, folder=HERE):
    """The manifest of one network."""
    return json.loads((folder / f'{name}.json').read_text())


def official_state_dict(name, folder=HERE):
    """{official key: tensor} that the golden outputs were computed with.

    As the official file lists them, less its integer buffers.
    """
    content = manifest(name, folder)
    pool = np.load(folder / 'statistics.npz')['statistics']
    stored = {}
    for key, shape, kind in content['keys']:
        if kind == 'stored':
            start = content['stored'][key]
            stored[key] = pool[start : start + np.prod(shape)].reshape(shape)
    return {
        key: torch.from_numpy(value.copy())
        for key, value in recipe['state_dict'](content, stored).items()
    }


def image(name, folder=HERE):
    """The network input of one golden file, (1, 3, H, W)."""
    content = manifest(name, folder)['input']
    return torch.from_numpy(recipe['image'](content['shape'], content['seed']))


def compare(name, outputs, folder=HERE):
    """Largest relative error of each output of a network.

    Args:
        name (str): Golden file.
        outputs (list[Tensor]): All of the network's outputs, in full.
        folder (Path): The copy. Defaults to this folder.

    Returns:
        list[dict]: For each output: `error`, max|difference| at the stored
        places; `mean` and `std`, the differences of the statistics of the whole
        output. All are shares of the output's absmax.

    Raises:
        AssertionError: The number or the shape of the outputs differs.
    """
    content = manifest(name, folder)
    stored = np.load(folder / f'{name}.npz')
    assert len(outputs) == len(content['outputs']), (
        f'{name}: {len(outputs)} outputs, expected {len(content["outputs"])}'
    )
    rows = []
    for i, (ours, info) in enumerate(zip(outputs, content['outputs'])):
        assert list(ours.shape) == info['shape'], (
            f'{name}, output {i}: {tuple(ours.shape)}, expected {info["shape"]}'
        )
        ours = ours.double().numpy()
        step, channel_step = info['stored_rows_step'], info['stored_channel_step']
        thinned = ours[:, ::channel_step, ::step, ::step]
        difference = np.abs(thinned - stored[f'out{i}']).max()
        rows.append(
            dict(
                error=difference / info['absmax'],
                mean=abs(ours.mean() - info['mean']) / info['absmax'],
                std=abs(ours.std() - info['std']) / info['absmax'],
            )
        )
    return rows
