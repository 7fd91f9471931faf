"""From a trained checkpoint to the line: deploy form, export, runtimes, prediction.

Nothing here is needed for training, and importing ``fastsegformer_mm`` does not
import it. ONNX, OpenVINO and the page need the extras ``deploy`` and ``page``.
"""

from .model_card import ModelCard
from .segmentor import DefectSegmentor, Segmentation

__all__ = ['DefectSegmentor', 'ModelCard', 'Segmentation']
