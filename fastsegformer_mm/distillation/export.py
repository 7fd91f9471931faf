"""The student alone, out of a distillation's checkpoint."""

from pathlib import Path

import torch

from fastsegformer_mm.models.backbones.official_checkpoint import read_weights

STUDENT = 'architecture.'
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
        out (str | Path): The file to write; its folder is made.

    Returns:
        Path: ``out``.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        ValueError: It holds no student.
    """
    content = read_weights(checkpoint)
    state_dict = content.get('state_dict') if isinstance(content, dict) else None
    weights = student_weights(state_dict or {})
    if not weights:
        raise ValueError(
            f'checkpoint {str(checkpoint)!r} is not one of a distillation: it has no '
            f"weight under '{STUDENT}'. The checkpoint of a network trained alone "
            'needs no export'
        )
    meta = {k: v for k, v in content.get('meta', {}).items() if k not in NOT_STUDENT}
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({'meta': meta, 'state_dict': weights}, out)
    return out
