"""Official checkpoints to MMEngine's."""

from .converter import Conversion, convert_checkpoint, convert_state_dict
from .recognition import Network, recognise

__all__ = [
    'Conversion',
    'Network',
    'convert_checkpoint',
    'convert_state_dict',
    'recognise',
]
