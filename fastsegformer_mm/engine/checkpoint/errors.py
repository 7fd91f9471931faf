"""What is wrong with a checkpoint."""


class CheckpointError(ValueError):
    """A file is no checkpoint, is damaged, or is that of another network.

    Its message names the file, what is wrong with it, and the way out.
    """
