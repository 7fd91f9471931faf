"""Make a small copy of a folder of golden tensors.

``python tests/golden/thin.py SRC DST`` reads ``NAME.json`` and ``NAME.npz`` of
the networks below from SRC (full golden files, see README.md) and writes to DST

* ``NAME.json``: the manifest with the steps of the coarser grid, and ``stored``,
  {key: offset} of each stored statistic in ``statistics.npz``;
* ``NAME.npz``: ``out0``, ``out1``, ... on the coarser grid, float32, untouched
  otherwise: every value is one of the values of the full file;
* ``statistics.npz``: one float32 vector of all the networks' distinct stored
  statistics. Networks that share a backbone share these.
"""

import argparse
import json
from pathlib import Path

import numpy as np

NETWORKS = (
    'fastsegformer_e',
    'fastsegformer_e_ppm_noirb',
    'fastsegformer_p',
    'fastsegformer_p_msp_noirb',
    'fastsegformer_p_ppm_noirb',
    'fastsegformer_s24',
    'fastsegformer_swin_t',
    'swin_t_att_unet',
)


def thin_steps(shape, rows, channels):
    """Steps that leave at most `rows` rows and columns and `channels` channels.

    Args:
        shape (tuple[int]): (1, C, H, W) of the array as SRC stores it.
        rows (int): Most rows (and columns) to keep.
        channels (int): Most channels to keep.

    Returns:
        tuple[int]: Step of rows and columns, step of channels.
    """
    return -(-max(shape[2:]) // rows), -(-shape[1] // channels)


def thin(src, dst, rows, channels, networks=NETWORKS):
    """Write the small copy; see the module's docstring."""
    src, dst = Path(src), Path(dst)
    dst.mkdir(parents=True, exist_ok=True)
    pool, offsets, end = [], {}, 0
    for name in networks:
        manifest = json.loads((src / f'{name}.json').read_text())
        full = np.load(src / f'{name}.npz')
        manifest['stored'] = {}
        for key, _, kind in manifest['keys']:
            if kind != 'stored':
                continue
            value = full[key].astype(np.float32, casting='safe').ravel()
            content = value.tobytes()
            if content not in offsets:
                offsets[content] = end
                pool.append(value)
                end += value.size
            manifest['stored'][key] = offsets[content]

        outputs = {}
        for i, output in enumerate(manifest['outputs']):
            value = full[f'out{i}']
            row_step, channel_step = thin_steps(value.shape, rows, channels)
            outputs[f'out{i}'] = value[:, ::channel_step, ::row_step, ::row_step]
            output['stored_rows_step'] *= row_step
            output['stored_channel_step'] *= channel_step
        np.savez_compressed(dst / f'{name}.npz', **outputs)
        text = json.dumps(manifest, separators=(',', ':'))
        # a key to a line: a change of the copy shows as a change of lines
        text = text.replace('],["', '],\n["').replace('},{', '},\n{')
        (dst / f'{name}.json').write_text(text + '\n')
    np.savez_compressed(dst / 'statistics.npz', statistics=np.concatenate(pool))


def main():
    parser = argparse.ArgumentParser(
        description='Make a small copy of a folder of golden tensors.'
    )
    parser.add_argument('src', help='folder of the full golden files')
    parser.add_argument('dst', help='folder of the small copy')
    parser.add_argument(
        '--rows', type=int, default=19, help='most rows and columns to keep'
    )
    parser.add_argument('--channels', type=int, default=8, help='most channels to keep')
    parser.add_argument('--networks', nargs='+', default=NETWORKS, metavar='NAME')
    args = parser.parse_args()
    thin(args.src, args.dst, args.rows, args.channels, args.networks)


if __name__ == '__main__':
    main()
