"""Prediction on images, folders, videos and cameras."""

from .finish import FrameSettings, finish_frame
from .frame import Frame, ReadError, read_image
from .grading import Grading, read_grading
from .inputs import find_inputs
from .part_masks import PartMasks
from .pipeline import Outcome, Prediction, stopped_by_signals
from .result_writer import StreamSettings
from .run_folder import RunFolder

__all__ = [
    'Frame',
    'FrameSettings',
    'Grading',
    'Outcome',
    'PartMasks',
    'Prediction',
    'ReadError',
    'RunFolder',
    'StreamSettings',
    'find_inputs',
    'finish_frame',
    'read_grading',
    'read_image',
    'stopped_by_signals',
]
