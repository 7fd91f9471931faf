"""A trained network into an artefact: one file that says what it is.

ONNX and OpenVINO models with the model's card in their metadata, on demand with the
frame's way into the network and the mask's way out inside the graph, and a comparison
with MMSegmentation's own results without which none is kept.
"""

from .export import ParityError, export_model, report_path
from .options import ExportOptions
from .parity import Parity

__all__ = ['ExportOptions', 'Parity', 'ParityError', 'export_model', 'report_path']
