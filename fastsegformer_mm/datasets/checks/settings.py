"""Whether the options of model, data set and evaluator agree."""
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mmengine.config import Config

from fastsegformer_mm.utils.background import KNOWN, background_class, listed

from .report import Problem
from .sources import Source

# these heads learn something else than the classes (the outlines)
OTHER_TASKS = ('STDCHead', )


@dataclass
class ModelSettings:
    """What the network that is trained expects of the labels.

    Args:
        heads (list[tuple[str, dict]]): Place in the config and config of each head
            that predicts classes.
        num_classes (int, optional): Of the first head.
        ignore_index (int, optional): Of the first head; None without a model.
        channels (int): Of the images, as the data preprocessor has means.
        where (str): Place of the network in the config.
        preprocessor (dict): Config of its data preprocessor; {} for none.
        other_heads (list[tuple[str, dict]]): Heads that predict something else.
    """

    heads: list[tuple[str, dict]] = field(default_factory=list)
    num_classes: int | None = None
    ignore_index: int | None = None
    channels: int = 3
    where: str = 'model'
    preprocessor: dict = field(default_factory=dict)
    other_heads: list[tuple[str, dict]] = field(default_factory=list)


def model_settings(cfg: Config) -> ModelSettings:
    """Read them out of a config; of a distillation, those of the student."""
    model, where = cfg.get('model'), 'model'
    for inner in ('module', 'architecture'):
        # test-time augmentation wraps the model, MMRazor has it as architecture
        if isinstance(model, dict) and model.get(inner):
            model, where = model[inner], f'{where}.{inner}'
            if isinstance(model, str):
                model = Config.fromfile(model).model
    settings = ModelSettings()
    if not isinstance(model, dict):
        return settings
    for name in ('decode_head', 'auxiliary_head'):
        for place, head in each(model.get(name), f'{where}.{name}'):
            other = head.get('type') in OTHER_TASKS
            (settings.other_heads if other else settings.heads).append((place, head))
    if settings.heads:
        head = settings.heads[0][1]
        settings.num_classes = head.get('num_classes')
        settings.ignore_index = head.get('ignore_index', 255)
    settings.where = where
    settings.preprocessor = dict(model.get('data_preprocessor') or {})
    means = settings.preprocessor.get('mean')
    settings.channels = len(means) if means else 3
    return settings


def each(value: Any, where: str) -> Iterator[tuple[str, dict]]:
    """A config, or the configs of a list."""
    if isinstance(value, dict):
        yield where, value
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            if isinstance(item, dict):
                yield f'{where}[{index}]', item


def check_settings(cfg: Config, sources: list[Source],
                   settings: ModelSettings) -> list[Problem]:
    """What of the options does not fit together.

    Args:
        cfg (Config): The whole config.
        sources (list[Source]): The data sets in question.
        settings (ModelSettings): Of the same config.

    Returns:
        list[Problem]: Their ``file`` is the option. Each is told once.
    """
    problems: dict[tuple, Problem] = {}
    for source in sources:
        found = [*_ignore_index(cfg, source, settings)]
        if source.labelled:
            found = [*_classes(source, settings), *_background(source),
                     *_reduce_zero_label(source), *found]
        for problem in found:
            # splits mostly share their classes
            same = (problem.value if problem.kind == 'background-unknown'
                    else problem.file)
            problems.setdefault((problem.kind, same), problem)
    return list(problems.values())


def _classes(source: Source, settings: ModelSettings) -> Iterator[Problem]:
    count = len(source.classes)
    if not count:
        yield Problem(
            'classes-missing', 'error', source.split, f'{source.where}.metainfo',
            'no classes', 'the names of the classes, in the order of the labels',
            f'set {source.where}.metainfo=dict(classes=(...), palette=[...])')
        return
    names = f'{count}, as {source.name} has classes ({", ".join(source.classes)})'
    for place, head in settings.heads:
        given = head.get('num_classes')
        if given is not None and given != count:
            yield Problem(
                'num-classes', 'error', '', f'{place}.num_classes', str(given), names,
                f'set {place}.num_classes={count}, or the classes of the data set by '
                f'{source.where}.metainfo')
            continue
        out = head.get('out_channels')
        if out is not None and out != count and (out, count) != (1, 2):
            yield Problem(
                'num-classes', 'error', '', f'{place}.out_channels', str(out), names,
                f'leave {place}.out_channels away')


def _background(source: Source) -> Iterator[Problem]:
    option = f'{source.where}.metainfo.background'
    if not source.classes:
        return
    try:
        background_class(source.classes, source.background)
    except ValueError:
        yield Problem(
            'background-is-no-class', 'error', source.split, option,
            repr(source.background), f'one of {", ".join(source.classes)}, or None for '
            'a set without background', f'set {option} to the position of a class')
        return
    if source.background_unknown:
        yield Problem(
            'background-unknown', 'warning', '', option,
            f'not set, and none of {listed(source.classes)} is known as one',
            f'a class called {KNOWN[0]} or {KNOWN[1]}, or its position here',
            f'set {source.where}.metainfo=dict(background=K), {source.classes[0]} is '
            '0, or background=None if every class is to be drawn, counted and graded')


def _reduce_zero_label(source: Source) -> Iterator[Problem]:
    option = f'{source.where}.reduce_zero_label'
    if source.reduce_zero_label and source.background_index is not None:
        first = source.classes[0]
        yield Problem(
            'reduce-zero-label', 'error', source.split, option,
            f'True, and the classes have a background: label 0 is ignored, and '
            f'label 1 counts as {first}', 'False when label 0 is a class',
            f'set {option}=False, or leave the background out of the classes')
    step = (source.label_step or {}).get('reduce_zero_label')
    if step is not None and step != source.reduce_zero_label:
        yield Problem(
            'reduce-zero-label', 'error', source.split,
            f'{source.where}.pipeline LoadAnnotations.reduce_zero_label', str(step),
            f'{source.reduce_zero_label}, as the data set has it',
            f'leave it out of LoadAnnotations, and set {option}')


def _ignore_index(cfg: Config, source: Source,
                  settings: ModelSettings) -> Iterator[Problem]:
    count = len(source.classes)
    used = settings.ignore_index
    options = [(f'{source.where}.ignore_index', source.ignore_index, source.split)]
    for place, head in settings.heads:
        options.append((f'{place}.ignore_index', head.get('ignore_index', 255), ''))
        options += [
            (f'{loss_place}.ignore_index', loss['ignore_index'], '')
            for loss_place, loss in each(head.get('loss_decode'),
                                         f'{place}.loss_decode')
            if loss.get('ignore_index') is not None]
    name = f'{source.split}_evaluator'
    # IoUMetric and DefectIoUMetric leave 255 out unless told otherwise
    options += [(f'{place}.ignore_index', metric.get('ignore_index', 255),
                 source.split)
                for place, metric in each(cfg.get(name), name)
                if 'IoU' in str(metric.get('type'))]
    for place, value, split in options:
        if isinstance(value, int) and 0 <= value < count:
            yield Problem(
                'ignore-index-is-class', 'error', split, place,
                f'{value}, which is class {source.classes[value]}',
                f'a value that is no class, 0 to {count - 1}',
                f'set {place}=255, and that value in the labels where a pixel is not '
                'to count')
        elif used is not None and value is not None and value != used:
            yield Problem(
                'ignore-index-differs', 'error', split, place, str(value),
                f'{used}, the ignore_index of {settings.heads[0][0]}',
                'give all of them one value, 255 unless there is a reason')
