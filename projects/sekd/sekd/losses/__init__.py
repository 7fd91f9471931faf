from .context_alignment_loss import ContextAlignmentLoss
from .masked_reconstruction_loss import MaskedReconstructionLoss
from .scaled_alignment_loss import ScaledAlignmentLoss
from .texture_loss import TextureLoss

__all__ = [
    'ContextAlignmentLoss',
    'MaskedReconstructionLoss',
    'ScaledAlignmentLoss',
    'TextureLoss',
]
