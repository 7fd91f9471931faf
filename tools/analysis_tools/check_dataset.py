"""Check a config's data: folders, files, labels, classes, duplicates.

Each problem is one line with the file, what was found, what was expected, and the
way out. Exit code 0: no errors (there may be warnings); 1: errors; 2: the check
could not be made.

Examples:
    fastsegformer check-data CONFIG
    fastsegformer check-data CONFIG --split train,val \
        --fix-report report.html --processes 8
"""

import argparse
import os
import sys
import traceback
from pathlib import Path

from fastsegformer_cli.options import add_config_options, config_options, find_config
from fastsegformer_cli.quiet import quiet
from fastsegformer_cli.signals import run_tool


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', type=find_config, help='config file')
    parser.add_argument(
        '--split',
        help='splits to check, with commas (default: those of train,val,test that '
        'the config has)',
    )
    parser.add_argument(
        '--fix-report',
        type=Path,
        metavar='HTML',
        help='write everything found as a page for the browser, with examples',
    )
    parser.add_argument(
        '--json', type=Path, help='write everything found as JSON'
    )
    parser.add_argument(
        '--processes',
        type=int,
        default=min(8, os.cpu_count() or 1),
        help='how many read at once (default: %(default)s)',
    )
    parser.add_argument(
        '--sample',
        type=int,
        help='look into this many pairs of each split, evenly spread (default: all)',
    )
    parser.add_argument(
        '--show',
        type=int,
        default=10,
        help='lines of one kind on the console (default: %(default)s); the HTML and '
        'the JSON have all',
    )
    parser.add_argument(
        '--ignore',
        nargs='+',
        default=[],
        metavar='KIND',
        help='kinds of problems to pass over, as duplicate grey-among-colours',
    )
    add_config_options(parser)
    args = parser.parse_args(argv)
    for name in ('processes', 'sample', 'show'):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f'--{name} is {value}: expected 1 or more')
    return args


def read_config(args):
    """The config with its overrides; exits where there is none to read."""
    from mmengine import Config

    if not Path(args.config).is_file():
        stop(f'{args.config}: no such config file')
    try:
        cfg = Config.fromfile(args.config)
        cfg.merge_from_dict(config_options(args.cfg_options) or {})
    except Exception as error:
        # a config is a program, which can fail in any way
        stop(f'{args.config} cannot be read: {type(error).__name__}: {error}')
    return cfg


def stop(text):
    print('error:', ' '.join(text.split()), file=sys.stderr)
    sys.exit(2)


def main(argv=None):
    args = parse_args(argv)
    # imports that take seconds come after the command line
    quiet()
    from rich.progress import track

    from fastsegformer_mm.datasets.checks import check_dataset
    from fastsegformer_mm.datasets.checks.console import print_report, write_json

    cfg = read_config(args)
    try:
        report = check_dataset(
            cfg,
            args.split and [name.strip() for name in args.split.split(',')],
            sample=args.sample,
            processes=args.processes,
            ignore=args.ignore,
            track=lambda facts, total: track(facts, 'Checking pairs', total),
        )
    except ValueError as error:
        stop(str(error))
    except Exception as error:
        # not 1, which says that the data has errors
        traceback.print_exc()
        stop(f'the check itself failed, {type(error).__name__}: {error}')
    if not report.splits:
        stop(f'{args.config} has no dataloader to check')
    print_report(report, args.show)
    if args.json:
        print(f'JSON: {write_json(report, args.json)}')
    if args.fix_report:
        # imported here, as drawing is not needed to check
        from fastsegformer_mm.datasets.checks.html_report import write_html

        print(f'report: {write_html(report, args.fix_report)}')
    return 0 if report.ok else 1


if __name__ == '__main__':
    sys.exit(run_tool(main))
