"""One student distilled from one teacher by several methods, and not at all."""

import argparse
import sys
from pathlib import Path

from fastsegformer_cli.options import add_config_options, config_options, find_config
from fastsegformer_cli.quiet import quiet
from fastsegformer_cli.signals import run_tool

FAILED, INCOMPLETE, INTERRUPTED = 1, 3, 130


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description='Trains a student alone and by each distillation of a comparison '
        '(projects/comparison/configs), with several seeds and one budget, and shows '
        'mean, standard error, gains paired by seed over the student alone, alone for '
        'equal time and on the same images, and costs. Each run stops and is chosen on '
        'validation images and tested once. What is complete is not run again, what '
        'was interrupted goes on.',
        epilog=f'Exit code: 0 all complete, {FAILED} a run has failed, {INCOMPLETE} '
        f'the time was up before all were started, {INTERRUPTED} interrupted.',
    )
    parser.add_argument('config', type=find_config, help='config of a comparison')
    parser.add_argument(
        '--out', type=Path, help='folder; default: work_dirs/NAME OF THE CONFIG'
    )
    parser.add_argument('--methods', nargs='+', metavar='NAME', help='default: all')
    parser.add_argument(
        '--seeds', nargs='+', type=int, metavar='K', help="default: the config's"
    )
    parser.add_argument(
        '--minutes', type=float, help='after so many no run is started any more'
    )
    parser.add_argument(
        '--jobs',
        type=int,
        default=1,
        choices=(1, 2),
        help='runs side by side; seconds a step are then those of a shared machine',
    )
    parser.add_argument('--threads', type=int, help='on the CPU, for all jobs together')
    parser.add_argument('--teacher-ckpt', help="instead of the config's")
    parser.add_argument(
        '--train-teacher',
        action='store_true',
        help='train the teacher as part of the comparison, as is done anyway where '
        'its config names no checkpoint',
    )
    parser.add_argument(
        '--rerun-changed',
        action='store_true',
        help='make runs of another config again, and put the old ones aside',
    )
    parser.add_argument(
        '--report-only', action='store_true', help='show what is complete by now'
    )
    add_config_options(parser, text="for the student's config, in every run")
    add_config_options(parser, '--teacher-options', "for the teacher's config")
    return parser.parse_args(argv)


def main(argv=None, start=None) -> int:
    args = parse_args(argv)
    # imports that take seconds come after the command line
    quiet()
    from rich.console import Console

    from fastsegformer_mm.distillation import DistillationError
    from fastsegformer_mm.distillation.comparison import read_comparison
    from fastsegformer_mm.distillation.comparison.compare import Bench, compare, locked
    from fastsegformer_mm.distillation.comparison.queue import Process

    # in a log file a line is as long as the table
    console = Console() if sys.stdout.isatty() else Console(width=200)
    try:
        comparison = read_comparison(args.config)
        unknown = set(args.methods or ()) - set(comparison.methods)
        if unknown:
            raise SystemExit(
                f'error: no method {", ".join(sorted(unknown))}; {args.config} has '
                + ', '.join(comparison.methods)
            )
        bench = Bench(
            comparison,
            args.out or Path('work_dirs') / Path(args.config).stem,
            config_options(args.cfg_options) or {},
            config_options(args.teacher_options) or {},
            args.teacher_ckpt,
        )
        if args.report_only:
            show(console, bench)
            return 0
        with locked(bench.folder):
            outcome = compare(
                bench,
                list(dict.fromkeys(args.methods or comparison.methods)),
                list(dict.fromkeys(args.seeds or comparison.seeds)),
                args.jobs,
                args.threads,
                args.minutes,
                args.train_teacher,
                args.rerun_changed,
                lambda line: console.print(line, markup=False, highlight=False),
                start or Process,
            )
            show(console, bench, outcome)
    except (DistillationError, ValueError, OSError) as error:
        raise SystemExit(f'error: {error}') from error
    return exit_code(outcome)


def exit_code(outcome) -> int:
    if outcome.interrupted:
        return INTERRUPTED
    if outcome.failed:
        return FAILED
    return INCOMPLETE if outcome.left else 0


def show(console, bench, outcome=None):
    """Print the table, write the files, and list what has failed or is left."""
    from rich.markdown import Markdown

    notes = []
    if outcome and outcome.failed:
        notes.append(f'Failed: {", ".join(outcome.failed)}.')
    report = bench.report(bench.find_teacher(), notes)
    files = report.write(bench.folder)
    console.print(Markdown(report.markdown(), hyperlinks=False))
    console.print(f'wrote {", ".join(map(str, files))}', highlight=False)
    if outcome is None:
        return
    for name, reason in outcome.failed.items():
        console.print(f'FAILED {name}: {reason}', markup=False, highlight=False)
    if outcome.left:
        names = '; '.join(run.name for run in outcome.left)
        console.print(
            f'not complete yet: {names}. The same command goes on from here',
            markup=False,
            highlight=False,
        )


if __name__ == '__main__':
    sys.exit(run_tool(main))
