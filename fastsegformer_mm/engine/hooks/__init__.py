"""Hooks."""

from .evaluation_report_hook import EvaluationReportHook
from .freeze_unfreeze_hook import FreezeUnfreezeHook

__all__ = ['EvaluationReportHook', 'FreezeUnfreezeHook']
