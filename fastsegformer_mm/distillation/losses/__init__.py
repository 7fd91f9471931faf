from .nfd_loss import NFDLoss
from .pkl_loss import PKLLoss
from .resize_teacher_loss import ResizeTeacherLoss
from .standardized_kl_loss import StandardizedKLLoss

__all__ = ['NFDLoss', 'PKLLoss', 'ResizeTeacherLoss', 'StandardizedKLLoss']
