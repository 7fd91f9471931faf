"""The student alone, out of a distillation's checkpoint."""

from pathlib import Path

from .fit import STUDENT
from .read import read_checkpoint
from .tensors_file import safetensors_bytes
from .write import replace_file, write_checkpoint

# of the distillation's config and of its training; no student needs them
NOT_STUDENT = ('cfg', 'hook_msgs')


def student_weights(state_dict: dict) -> dict:
    """The student's weights in a distillation's state dict, under its own keys."""
    return {
        k.removeprefix(STUDENT): v
        for k, v in state_dict.items()
        if k.startswith(STUDENT)
    }


def export_student(checkpoint, out) -> Path:
    """Write the student of a distillation's checkpoint as a checkpoint of its own.

    The weights are those of ``state_dict``: with an EMAHook the averaged ones,
    which validation has scored. Connectors, optimizer and the rest stay behind.

    Args:
        checkpoint (str | Path): Written during the training of a distillation.
        out (str | Path): The file to write; its folder is made, and it appears
            complete or not at all. With the suffix ``.safetensors`` it is one, which
            other programs read too; what is known of the network, such as its
            classes, is in its metadata, as JSON.

    Returns:
        Path: ``out``.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        ValueError: It holds no student.
    """
    content = read_checkpoint(checkpoint)
    state_dict = content.get('state_dict') if isinstance(content, dict) else None
    weights = student_weights(state_dict or {})
    if not weights:
        raise ValueError(
            f'checkpoint {str(checkpoint)!r} is not one of a distillation: it has no '
            f"weight under '{STUDENT}'. The checkpoint of a network trained alone "
            'needs no export'
        )
    meta = {k: v for k, v in content.get('meta', {}).items() if k not in NOT_STUDENT}
    if Path(out).suffix == '.safetensors':
        return replace_file(out, [safetensors_bytes(weights, meta)])
    return write_checkpoint(dict(meta=meta, state_dict=weights), out)
