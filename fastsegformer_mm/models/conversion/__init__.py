"""Official checkpoints to MMEngine's.

A project brings its own networks by a function ``recognise``, see
:func:`convert_state_dict`.
"""

from .command import run_command
from .converter import Conversion, convert_checkpoint, convert_state_dict
from .network import Network
from .recognition import recognise

__all__ = [
    'Conversion',
    'Network',
    'convert_checkpoint',
    'convert_state_dict',
    'recognise',
    'run_command',
]
