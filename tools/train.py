"""Trains a config of this package: MMSegmentation's own train.py, run as it is.

`mim train fastsegformer_mm CONFIG` looks for this file; `mim train mmseg CONFIG`
does the same without it.
"""

import sys

from fastsegformer_cli.signals import run_tool
from fastsegformer_cli.stack_script import run_stack_script

if __name__ == '__main__':
    sys.exit(run_tool(lambda: run_stack_script('train.py')))
