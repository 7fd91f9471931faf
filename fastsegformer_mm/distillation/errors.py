"""The error of a distillation that cannot work as it is declared."""


class DistillationError(ValueError):
    """Says what does not fit, the value, what was expected, and the way out."""
