"""OpenVINO, if it is there."""

import functools

from ..errors import DeployError


def import_openvino():
    """The package, or a DeployError that says how to get it."""
    try:
        import openvino
    except ImportError as error:
        raise DeployError(
            f"backend='openvino' needs the package openvino ({error}); install it by "
            'pip install "fastsegformer-mm[deploy]"'
        ) from error
    return openvino


@functools.cache
def openvino_core():
    """The process's one OpenVINO.

    Two that are closed in the order in which they were made leave a signal stack
    behind that is freed, and the next signal, as of Ctrl-C, ends in a crash.
    """
    return import_openvino().Core()
