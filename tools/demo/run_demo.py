"""The main job from nothing: data, a teacher, a student, and the student distilled.

Makes a set of synthetic navel oranges, trains a small teacher, FastSegFormer-E
alone and the same FastSegFormer-E distilled from the teacher (same seed, same
iterations) by ``mim train``, scores all three by ``mim test``, and draws image,
label and prediction side by side. ``make demo`` runs it.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from fastsegformer_cli.signals import run_tool

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = 'configs/distill/demo/'
TEACHER = CONFIGS + 'att-unet_swin-half_1xb8-200i_synthetic-oranges-224x224.py'
STUDENT = (
    CONFIGS + 'fastsegformer-e_efficientformerv2-s0_1xb8-300i_'
    'synthetic-oranges-128x128.py'
)
DISTILLATION = (
    CONFIGS + 'pkl-nfd-kd2_att-unet-swin-half_fastsegformer-e_1xb8-300i_'
    'synthetic-oranges-128x128.py'
)
DATA = 'data/synthetic_oranges'


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--work-dir', default='work_dirs/demo', type=Path)
    parser.add_argument('--num', default=100, type=int, help='images to make')
    parser.add_argument('--seed', default=0, type=int, help='of all three trainings')
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


class Demo:
    """One folder of trainings and their scores."""

    def __init__(self, args):
        self.work_dir = ROOT / args.work_dir
        self.options = [f'randomness.seed={args.seed}', *args.cfg_options]
        self.mim = Path(sys.executable).with_name('mim')
        self.rows = []

    def train(self, name, title, config, *options):
        """Train into the folder ``name``; the path of its last checkpoint."""
        folder = self.work_dir / name
        seconds = run(
            f'train {title}',
            *(self.mim, 'train', 'mmseg', config, '--work-dir', folder),
            *('--cfg-options', *self.options, *options),
        )
        return Path((folder / 'last_checkpoint').read_text().strip()), seconds

    def test(self, name, title, config, checkpoint, seconds):
        """Score on the test split, by the network's own config."""
        folder = self.work_dir / name / 'test'
        run(
            f'score {title} on the test split',
            *(self.mim, 'test', 'mmseg', config, '--checkpoint', checkpoint),
            *('--work-dir', folder, '--cfg-options', *self.options),
        )
        self.rows.append((title, latest_metrics(folder), seconds))

    def report(self):
        """The three, and what the distillation was worth."""
        from rich.console import Console
        from rich.table import Table

        table = Table(title='synthetic oranges, test split, percent')
        table.add_column('network')
        for column in ('mIoU', 'mPA', 'mPrecision', 'training'):
            table.add_column(column, justify='right')
        for title, metrics, seconds in self.rows:
            figures = (f'{metrics[k]:.2f}' for k in ('mIoU', 'mPA', 'mPrecision'))
            table.add_row(title, *figures, f'{seconds / 60:.1f} min')
        Console().print(table)
        alone, distilled = (metrics['mIoU'] for _, metrics, _ in self.rows[1:])
        gain = distilled - alone
        print(
            f'Distillation changed the mIoU of the student by {gain:+.2f} points.'
            + (
                ''
                if gain > 0
                else ' It did not help in this run: so short a training depends on '
                'its seed (--seed), and docs/distillation.md tells what to try.'
            )
        )


def latest_metrics(folder):
    """The newest ``metrics.json`` that testing has written below folder."""
    files = sorted(folder.rglob('metrics.json'), key=lambda f: f.stat().st_mtime)
    if not files:
        sys.exit(f'demo: testing left no metrics.json below {folder}')
    return json.loads(files[-1].read_text())['metrics']


def main():
    args = parse_args()
    if not (ROOT / DATA).exists():
        run(
            'make the data set',
            *(sys.executable, 'tools/dataset_converters/make_synthetic_oranges.py'),
            *(DATA, '--num', args.num),
        )
    demo = Demo(args)

    title = 'teacher, Swin-Att-UNet at 224 px'
    teacher, seconds = demo.train('teacher', title, TEACHER)
    demo.test('teacher', title, TEACHER, teacher, seconds)

    title = 'student alone, FastSegFormer-E at 128 px'
    alone, seconds = demo.train('alone', title, STUDENT)
    demo.test('alone', title, STUDENT, alone, seconds)

    title = 'the same student distilled'
    checkpoint, seconds = demo.train(
        'distilled', title, DISTILLATION, f'model.teacher_ckpt={teacher}'
    )
    student = checkpoint.parent / 'student' / checkpoint.name
    demo.test('distilled', title, STUDENT, student, seconds)

    sheet = demo.work_dir / 'overlay_sheet.png'
    run(
        'draw the overlay sheet',
        *(sys.executable, 'tools/analysis_tools/overlay_sheet.py', STUDENT, student),
        *('--out', sheet, '--cfg-options', *demo.options),
    )
    demo.report()
    print(f'overlay sheet: {sheet}\nstudent:       {student}')


if __name__ == '__main__':
    sys.exit(run_tool(main))
