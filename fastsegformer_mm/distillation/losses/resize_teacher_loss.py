"""Any loss on two maps, for maps of different sizes."""

from mmrazor.registry import MODELS
from torch import Tensor, nn

from .alignment import full_precision, to_student_size


@MODELS.register_module()
class ResizeTeacherLoss(nn.Module):
    """Resize the teacher's map to the student's, then compute another loss.

    MMRazor's losses (CWD, MGD, DIST, KL ...) expect two maps of one size; in a
    distillation at two resolutions they are not. The teacher's map is detached
    and resized bilinearly (align_corners=True), and both are float32.

    Args:
        loss (dict): The loss; its forward takes the student's and the teacher's
            map, in this order.
        loss_weight (float): A factor beside that loss's own. Defaults to 1.

    Raises:
        ValueError: At the forward pass, if the maps differ in more than size.

    Example:
        >>> import torch
        >>> loss = MODELS.build(dict(
        ...     type='mmrazor.ResizeTeacherLoss',
        ...     loss=dict(type='mmrazor.ChannelWiseDivergence', tau=4)))
        >>> loss(torch.rand(2, 4, 28, 28), torch.rand(2, 4, 64, 64)).shape
        torch.Size([])
    """

    def __init__(self, loss: dict, loss_weight: float = 1.0):
        super().__init__()
        self.loss = MODELS.build(loss)
        self.loss_weight = loss_weight

    def forward(self, preds_S: Tensor, preds_T: Tensor) -> Tensor:
        """(N, C, H, W) of the student, (N, C, H', W') of the teacher -> loss."""
        with full_precision(preds_S, preds_T) as (student, teacher):
            teacher = to_student_size(student, teacher)
            # the losses of MMRazor view a map as a matrix
            loss = self.loss(student.contiguous(), teacher.contiguous())
        return self.loss_weight * loss
