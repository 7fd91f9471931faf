"""The main job from nothing: data, a teacher, a student, and the student distilled.

Makes a set of synthetic navel oranges, trains a small teacher, FastSegFormer-E
alone and the same FastSegFormer-E distilled from the teacher (same seed, same
iterations) by ``mim train``, scores all three by ``mim test``, and draws image,
label and prediction side by side. ``make demo`` runs it.
"""

import argparse
import json
import sys
from pathlib import Path

from fastsegformer_cli.commands import tools_folder
from fastsegformer_cli.options import add_config_options
from fastsegformer_cli.signals import run_tool
from fastsegformer_cli.steps import Steps

CONFIGS = tools_folder().parent / 'configs/distill/demo'
TEACHER = CONFIGS / 'att-unet_swin-half_1xb8-200i_synthetic-oranges-224x224.py'
STUDENT = CONFIGS / (
    'fastsegformer-e_efficientformerv2-s0_1xb8-300i_synthetic-oranges-128x128.py'
)
DISTILLATION = CONFIGS / (
    'pkl-nfd-kd2_att-unet-swin-half_fastsegformer-e_1xb8-300i_'
    'synthetic-oranges-128x128.py'
)
DATA = Path('data/synthetic_oranges')
# (folder, title, config to train, config to score with)
NETWORKS = (
    ('teacher', 'teacher, Swin-Att-UNet at 224 px', TEACHER, TEACHER),
    ('alone', 'student alone, FastSegFormer-E at 128 px', STUDENT, STUDENT),
    ('distilled', 'the same student distilled', DISTILLATION, STUDENT),
)
PYTHON = (sys.executable, '-m')


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--work-dir', default='work_dirs/demo', type=Path)
    parser.add_argument(
        '--num', default=100, type=int, help='images to make (default: 100)'
    )
    parser.add_argument(
        '--seed', default=0, type=int, help='of all three trainings (default: 0)'
    )
    add_config_options(parser, text='handed to mim train and mim test')
    return parser.parse_args()


class Demo:
    """One folder of trainings and their scores."""

    def __init__(self, args):
        self.args = args
        self.work_dir = args.work_dir.absolute()
        self.options = [f'randomness.seed={args.seed}', *(args.cfg_options or ())]
        self.make_data = not DATA.exists()
        self.steps = Steps(
            args.work_dir / 'logs', self.make_data + 2 * len(NETWORKS) + 1
        )
        self.rows = []

    def run(self):
        """All steps, then the table."""
        if self.make_data:
            self.steps.run(
                'make the data set',
                'data',
                [*PYTHON, 'fastsegformer_cli', 'synthetic-oranges', DATA]
                + ['--num', self.args.num],
            )
        checkpoints = {}
        for name, title, config, own in NETWORKS:
            options = ()
            if name == 'distilled':
                options = (f'model.teacher_ckpt={checkpoints["teacher"]}',)
            checkpoint, seconds = self.train(name, title, config, *options)
            if name == 'distilled':
                checkpoint = checkpoint.parent / 'student' / checkpoint.name
            checkpoints[name] = checkpoint
            self.test(name, title, own, checkpoint, seconds)
        sheet = self.work_dir / 'overlay_sheet.png'
        student = checkpoints['distilled']
        self.steps.run(
            'draw the overlay sheet',
            'overlay_sheet',
            [*PYTHON, 'fastsegformer_cli', 'overlay-sheet', STUDENT, student]
            + ['--out', sheet, '--cfg-options', *self.options],
        )
        self.report()
        print(f'overlay sheet: {sheet}\nstudent:       {student}')

    def train(self, name, title, config, *options):
        """Train into the folder ``name``; the path of its last checkpoint."""
        folder = self.work_dir / name
        seconds = self.steps.run(
            f'train {title}',
            f'train_{name}',
            [*PYTHON, 'mim', 'train', 'mmseg', config, '--work-dir', folder]
            # a step for the bar every 10 iterations
            + ['--cfg-options', 'default_hooks.logger.interval=10']
            + [*self.options, *options],
        )
        # as MMEngine has written it
        name = (folder / 'last_checkpoint').read_text(encoding='locale')
        return Path(name.strip()), seconds

    def test(self, name, title, config, checkpoint, seconds):
        """Score on the test split, by the network's own config."""
        folder = self.work_dir / name / 'test'
        self.steps.run(
            f'score {title}',
            f'test_{name}',
            [*PYTHON, 'mim', 'test', 'mmseg', config, '--checkpoint', checkpoint]
            + ['--work-dir', folder, '--cfg-options', *self.options],
        )
        self.rows.append((title, latest_metrics(folder), seconds))

    def report(self):
        """The three, and what the distillation was worth."""
        from rich.table import Table

        table = Table(title='synthetic oranges, test split, percent')
        table.add_column('network')
        for column in ('mIoU', 'mPA', 'mPrecision', 'training'):
            table.add_column(column, justify='right')
        for title, metrics, seconds in self.rows:
            figures = (f'{metrics[k]:.2f}' for k in ('mIoU', 'mPA', 'mPrecision'))
            table.add_row(title, *figures, f'{seconds / 60:.1f} min')
        self.steps.console.print(table)
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
        sys.exit(f'error: testing left no metrics.json below {folder}')
    return json.loads(files[-1].read_text(encoding='utf-8'))['metrics']


def main():
    args = parse_args()
    Demo(args).run()


if __name__ == '__main__':
    sys.exit(run_tool(main))
