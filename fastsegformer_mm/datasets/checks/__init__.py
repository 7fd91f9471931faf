"""Finding what is wrong with a data set before the first iteration."""

from .checker import check_dataset, splits_of
from .errors import DatasetError
from .report import DatasetReport, Problem, SplitSummary

__all__ = ['DatasetError', 'DatasetReport', 'Problem', 'SplitSummary',
           'check_dataset', 'splits_of']
