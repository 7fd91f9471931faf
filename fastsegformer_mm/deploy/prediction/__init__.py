"""Prediction on images, folders, videos and cameras."""

from .decode import decode_image, read_image
from .finish import FrameSettings, finish_frame
from .frame import Frame
from .grading import Grading, read_grading
from .input_error import InputError
from .inputs import find_inputs
from .outcome import Outcome
from .part_masks import PartMasks
from .pipeline import Prediction
from .result_writer import StreamSettings
from .run_folder import RunFolder

__all__ = [
    'Frame',
    'FrameSettings',
    'Grading',
    'InputError',
    'Outcome',
    'PartMasks',
    'Prediction',
    'RunFolder',
    'StreamSettings',
    'decode_image',
    'find_inputs',
    'finish_frame',
    'read_grading',
    'read_image',
]
