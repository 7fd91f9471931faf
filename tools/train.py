"""Trains a config of this package: MMSegmentation's own train.py, run as it is.

`mim train fastsegformer_mm CONFIG` looks for this file; `mim train mmseg CONFIG`
does the same without it.
"""

import runpy
from pathlib import Path

import mmseg

import robust_training  # noqa: F401 - for configs that do not import it themselves

if __name__ == '__main__':
    script = Path(mmseg.__file__).parent / '.mim' / 'tools' / 'train.py'
    runpy.run_path(str(script), run_name='__main__')
