"""Whether what a pipeline fills labels with is a class that is then trained."""
import inspect
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from mmengine.registry import TRANSFORMS

from .reading import ignored_value
from .report import Problem
from .settings import ModelSettings
from .sources import Source

# of the picture that is tried; no multiple of what images are usually padded to
SHAPE = (61, 97)
# of each step: one that is taken with a probability of 0.1 is missed once in 68 times
TRIES = 40
# the label everywhere, which is no class and is not what is ignored
UNTOUCHED = 254
OPTIONS = ('seg_pad_val', 'seg_fill_in', 'fill_mask', 'mask_value', 'pad_val')


def check_pad_values(sources: list[Source], settings: ModelSettings
                     ) -> Iterator[Problem]:
    """Steps that fill labels with a class other than the background.

    Each step between the loading of labels and their packing is run on a made-up
    picture whose label is one value: any other value is what it has filled in. So
    transforms of any package are understood. Random numbers that are drawn
    afterwards are those of a run without the check.

    Args:
        sources (list[Source]): The data sets.
        settings (ModelSettings): Of the same config.

    Yields:
        Problem: One for each step.
    """
    known: dict[str, int | None] = {}
    for source in sources:
        ignored = ignored_value(source, settings)
        for place, step in source.label_steps:
            key = repr((step, source.reduce_zero_label, source.label_map))
            if key not in known:
                known[key] = filled_value(step, source)
            yield from _judge(source, f'{place} {_name(step)}', known[key], ignored,
                              _option(step))
        pad = settings.preprocessor
        value = pad.get('seg_pad_val', 255)
        # mostly nothing is left to be padded
        if source.split == 'train' and value < len(source.classes) and (
                pad.get('size') or pad.get('size_divisor')):
            yield from _judge(source, f'{settings.where}.data_preprocessor', value,
                              ignored, 'seg_pad_val')


def filled_value(step: dict, source: Source) -> int | None:
    """The value that a step fills labels with; None for none.

    Args:
        step (dict): Config of the transform.
        source (Source): The data set whose pipeline has it.
    """
    with _own_random_numbers():
        try:
            transform = TRANSFORMS.build(dict(step))
        except Exception:
            return None  # building the pipeline will say why
        for seed in range(TRIES):
            np.random.seed(seed)
            random.seed(seed)
            torch.manual_seed(seed)
            record = _record(source)
            record['mix_results'] = [_record(source) for _ in range(3)]
            try:
                record = transform(record)
            except Exception:
                return None  # it needs what a made-up picture does not have
            label = record.get('gt_seg_map') if isinstance(record, dict) else None
            if label is None:
                continue
            values, counts = np.unique(label, return_counts=True)
            counts[values == UNTOUCHED] = 0
            if counts.any():
                return int(values[counts.argmax()])
    return None


def _record(source: Source) -> dict:
    """What LoadImageFromFile and LoadAnnotations leave for the next step."""
    return {
        'img': np.full((*SHAPE, 3), 127, np.uint8),
        'gt_seg_map': np.full(SHAPE, UNTOUCHED, np.uint8),
        'seg_fields': ['gt_seg_map'], 'img_path': 'probe.jpg',
        'seg_map_path': 'probe.png', 'img_shape': SHAPE, 'ori_shape': SHAPE,
        'reduce_zero_label': source.reduce_zero_label, 'label_map': source.label_map}


@contextmanager
def _own_random_numbers():
    # transforms draw from the global generators
    numpy_state = np.random.get_state()
    states = random.getstate(), torch.get_rng_state()
    try:
        yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(states[0])
        torch.set_rng_state(states[1])


def _judge(source: Source, place: str, value: int | None, ignored: int,
           option: str) -> Iterator[Problem]:
    background = source.background_index
    if value is None or value in (ignored, background) or not source.classes:
        return
    names = source.classes
    what = f'class {value} ({names[value]})' if value < len(names) else 'no class'
    if source.reduce_zero_label:
        what += ' after reduce_zero_label'
    expected = f'{ignored}, which is ignored'
    if background is not None:
        expected += f', or {background} ({names[background]})'
    # a class of an unknown name may be the background
    unknown = source.background_unknown and value < len(names)
    way_out = f'set {option}={ignored}' if option else (
        'replace the step: what it fills labels with cannot be set')
    if option == 'pad_val':
        way_out = f'set pad_val=dict(img=0, seg={ignored})'
    if unknown:
        way_out += f', or metainfo=dict(background={value}) if that is it'
    yield Problem(
        'pad-value-is-class', 'warning' if unknown else 'error', source.split, place,
        f'fills labels with {value}, which is {what}', expected, way_out)


def _name(step: dict) -> str:
    return getattr(step['type'], '__name__', str(step['type']))


def _option(step: dict) -> str:
    """Name of the option that sets the value; '' if there is none."""
    given = [name for name in OPTIONS if name in step]
    if given:
        return given[0]
    cls = step['type']
    cls = TRANSFORMS.get(cls) if isinstance(cls, str) else cls
    if not inspect.isclass(cls):
        return ''
    known = inspect.signature(cls.__init__).parameters
    return next((name for name in OPTIONS if name in known), '')
