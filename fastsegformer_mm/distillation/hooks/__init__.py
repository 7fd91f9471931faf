from .check_teacher_hook import CheckTeacherHook
from .distill_schedule_hook import DistillScheduleHook
from .export_student_hook import ExportStudentHook
from .gradient_balance_hook import GradientBalanceHook

__all__ = [
    'CheckTeacherHook',
    'DistillScheduleHook',
    'ExportStudentHook',
    'GradientBalanceHook',
]
