"""Finding what is wrong with a data set before the first iteration."""

from .report import DatasetReport, Problem, SplitSummary

__all__ = ['DatasetReport', 'Problem', 'SplitSummary']
