"""One student and one teacher, and all ways to distil the one from the other.

Importing it registers SameStartHook and StepCostHook, which the runs of a comparison
have. See tools/analysis_tools/compare_distillation.py.
"""

from .errors import ComparisonError
from .same_start_hook import SameStartHook
from .settings import Comparison, Method, read_comparison
from .step_cost_hook import StepCostHook

__all__ = [
    'Comparison',
    'ComparisonError',
    'Method',
    'SameStartHook',
    'StepCostHook',
    'read_comparison',
]
