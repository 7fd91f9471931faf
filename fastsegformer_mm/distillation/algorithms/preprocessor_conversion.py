"""One batch, prepared for two networks."""

import logging

import torch
from mmengine.logging import print_log
from mmseg.models import SegDataPreProcessor

from fastsegformer_mm.distillation.errors import DistillationError


def conversion(student: SegDataPreProcessor, teacher: SegDataPreProcessor):
    """A function that turns a batch prepared for the student into the teacher's.

    Both normalise as ``(image - mean) / std`` after ordering the channels, so one
    follows from the other; float32 loses about 1e-7 of it. Equal preprocessors
    give the batch itself.

    Raises:
        DistillationError: One of the two is no SegDataPreProcessor.
    """
    for name, part in (('student', student), ('teacher', teacher)):
        if not isinstance(part, SegDataPreProcessor):
            raise DistillationError(
                f'the {name} has the data preprocessor {type(part).__name__}; only '
                'SegDataPreProcessor is known well enough to prepare one batch for '
                'two networks'
            )
    mean_s, std_s, order_s = _normalisation(student)
    mean_t, std_t, order_t = _normalisation(teacher)
    if order_s == order_t and mean_s.equal(mean_t) and std_s.equal(std_t):
        return lambda inputs, data_samples: inputs
    flip = order_s != order_t
    if flip:
        mean_s, std_s = mean_s.flip(0), std_s.flip(0)
    scale, shift = std_s / std_t, (mean_s - mean_t) / std_t
    pad_val = float(teacher.pad_val)
    print_log(
        'Teacher: the batch is prepared for the student and renormalised for it'
        + (', channels reversed' if flip else ''),
        'current',
        logging.INFO,
    )

    def convert(inputs, data_samples):
        inputs = inputs.flip(1) if flip else inputs
        shape = (1, 3, 1, 1)
        inputs = inputs * scale.view(shape).to(inputs) + shift.view(shape).to(inputs)
        for image, sample in zip(inputs, data_samples or ()):
            # padding is no grey value of the image: it has the networks' own
            left, right, top, bottom = sample.metainfo.get('padding_size', (0,) * 4)
            height, width = image.shape[1:]
            image[:, :top] = image[:, height - bottom :] = pad_val
            image[:, :, :left] = image[:, :, width - right :] = pad_val
        return inputs

    return convert


def _normalisation(preprocessor):
    """Mean, standard deviation and channel order of what a network is given."""
    if preprocessor._enable_normalize:
        mean, std = (
            part.detach().cpu().double().flatten()
            for part in (preprocessor.mean, preprocessor.std)
        )
    else:
        mean, std = torch.zeros(3, dtype=torch.float64), torch.ones(3).double()
    # MMSegmentation's own name for it, and that of MMEngine, which OneDL's has
    for name in ('channel_conversion', '_channel_conversion'):
        if hasattr(preprocessor, name):
            reversed_order = getattr(preprocessor, name)
    return mean.expand(3), std.expand(3), reversed_order
