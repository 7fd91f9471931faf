"""What goes wrong with a comparison."""

from fastsegformer_mm.distillation.errors import DistillationError


class ComparisonError(DistillationError):
    """A comparison that is not set up rightly, or results that do not fit it."""
