"""Write the student of a distillation's checkpoint as a checkpoint of its own."""

import argparse
import sys

from fastsegformer_cli.quiet import quiet
from fastsegformer_cli.signals import run_tool


def parse_args():
    parser = argparse.ArgumentParser(
        description="Take the student out of a distillation's checkpoint, in the "
        'layout of its own config: for mim test, deployment, or training on. '
        'ExportStudentHook does the same during training.'
    )
    parser.add_argument('src', help='checkpoint of a distillation')
    parser.add_argument(
        'dst', help='file to write, .pth or .safetensors; its folder is made'
    )
    return parser.parse_args()


def main():
    args = parse_args()
    quiet()
    from fastsegformer_mm.engine.checkpoint.student import export_student

    try:
        out = export_student(args.src, args.dst)
    except (OSError, ValueError) as error:
        raise SystemExit(f'error: {error}') from error
    print(f'wrote {out}')


if __name__ == '__main__':
    sys.exit(run_tool(main))
