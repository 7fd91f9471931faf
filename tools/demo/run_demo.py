"""The main job from nothing: data, ``mim train``, ``mim test``, a picture.

Makes a set of synthetic navel oranges, trains FastSegFormer-E on it for a few
minutes on the CPU, scores it, and draws image, label and prediction side by
side. ``make demo`` runs it.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIG = (
    'configs/fastsegformer/'
    'fastsegformer-e_efficientformerv2-s0_1xb8-demo_synthetic-oranges-224x224.py'
)
DATA = 'data/synthetic_oranges'


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--work-dir', default='work_dirs/demo', type=Path)
    parser.add_argument('--num', default=100, type=int, help='images to make')
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], help='handed to mim train and mim test'
    )
    return parser.parse_args()


def run(title, *command):
    """Run one step; leave with its name and exit code when it fails."""
    print(f'\n== {title}\n$ {" ".join(map(str, command))}', flush=True)
    start = time.perf_counter()
    code = subprocess.run([str(part) for part in command], cwd=ROOT).returncode
    if code:
        sys.exit(f'demo: step "{title}" failed with exit code {code} (output above)')
    return time.perf_counter() - start


def latest_metrics(work_dir):
    """The newest ``metrics.json`` that testing has written below work_dir."""
    files = sorted(work_dir.rglob('metrics.json'), key=lambda f: f.stat().st_mtime)
    if not files:
        sys.exit(f'demo: testing left no metrics.json below {work_dir}')
    return json.loads(files[-1].read_text())['metrics']


def main():
    args = parse_args()
    python, mim = sys.executable, Path(sys.executable).with_name('mim')
    work_dir = ROOT / args.work_dir
    options = ['--cfg-options', *args.cfg_options] if args.cfg_options else []

    if not (ROOT / DATA).exists():
        run(
            'make the data set',
            python,
            'tools/dataset_converters/make_synthetic_oranges.py',
            DATA,
            '--num',
            args.num,
        )
    seconds = run(
        'train FastSegFormer-E',
        mim,
        'train',
        'mmseg',
        CONFIG,
        '--work-dir',
        work_dir,
        *options,
    )
    checkpoint = (work_dir / 'last_checkpoint').read_text().strip()
    run(
        'score it on the test split',
        mim,
        'test',
        'mmseg',
        CONFIG,
        '--checkpoint',
        checkpoint,
        '--work-dir',
        work_dir,
        *options,
    )
    sheet = work_dir / 'overlay_sheet.png'
    run(
        'draw the overlay sheet',
        python,
        'tools/analysis_tools/overlay_sheet.py',
        CONFIG,
        checkpoint,
        '--out',
        sheet,
        *options,
    )
    metrics = latest_metrics(work_dir)
    print(
        f'\nFastSegFormer-E, trained for {seconds / 60:.1f} minutes on synthetic '
        f'oranges: mIoU {metrics["mIoU"]:.2f} % on the test split'
        f'\noverlay sheet: {sheet}'
        f'\ncheckpoint:    {checkpoint}'
    )


if __name__ == '__main__':
    main()
