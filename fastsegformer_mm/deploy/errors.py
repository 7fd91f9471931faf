"""What can go wrong between a checkpoint and the line."""


class DeployError(ValueError):
    """A model, artefact, option or runtime that cannot be used as asked.

    The message names the file or value, what was expected, and the way out.
    """


class FrameError(DeployError):
    """A frame that the model cannot take, while it can take others."""
