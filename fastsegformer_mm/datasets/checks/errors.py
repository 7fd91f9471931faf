"""The error of data that no training should start on."""


class DatasetError(ValueError):
    """Says, a line a fault: the file, the value, what was expected, the way out."""
