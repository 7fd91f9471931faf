"""tools/predict.py with a segmentor of colours that takes 20 ms a frame.

Its variable ``job`` has the arguments, the file that its standard error goes to, and
how often the network answers before it never does again.
"""

import ctypes
import importlib.util
import runpy
import sys
from pathlib import Path

from fastsegformer_cli.signals import run_tool

TESTS = Path(__file__).parents[1]
cases = runpy.run_path(str(TESTS / 'deploy/prediction_cases.py'))
spec = importlib.util.spec_from_file_location(
    'predict', TESTS.parent / 'tools/predict.py'
)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)



def stuck(number, answers):
    """Block in native code, as in a deadlock there, which no signal interrupts."""
    if number > answers:
        mutex = ctypes.create_string_buffer(64)
        lock = ctypes.CDLL(None).pthread_mutex_lock
        lock(mutex)
        lock(mutex)


if __name__ == '__main__':
    arguments, log, answers = globals()['job']
    segmentor = cases['ColourSegmentor'](0.02, lambda number: stuck(number, answers))
    with open(log, 'w', buffering=1) as sys.stderr:
        sys.exit(run_tool(lambda: tool.main(arguments, lambda *a, **k: segmentor)))
