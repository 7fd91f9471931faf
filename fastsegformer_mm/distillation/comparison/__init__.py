"""One student and one teacher, and all ways to distil the one from the other.

Importing it registers the hooks that the runs of a comparison have. See
tools/analysis_tools/compare_distillation.py.
"""

from .same_start_hook import SameStartHook
from .settings import Comparison, ComparisonError, Method, read_comparison
from .step_cost_hook import StepCostHook
from .validation_hook import ValidationHook

__all__ = [
    'Comparison',
    'ComparisonError',
    'Method',
    'SameStartHook',
    'StepCostHook',
    'ValidationHook',
    'read_comparison',
]
