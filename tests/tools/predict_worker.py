"""tools/predict.py with a segmentor of colours that takes 20 ms a frame.

Its variable ``job`` has the arguments, and the file its standard error goes to.
"""

import importlib.util
import runpy
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
cases = runpy.run_path(str(TESTS / 'deploy/prediction_cases.py'))
spec = importlib.util.spec_from_file_location(
    'predict', TESTS.parent / 'tools/predict.py'
)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)

if __name__ == '__main__':
    arguments, log = globals()['job']
    with open(log, 'w', buffering=1) as sys.stderr:
        sys.exit(tool.main(arguments, lambda *a, **k: cases['ColourSegmentor'](0.02)))
