"""What is compared, read from a config file."""

from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

from fastsegformer_mm.distillation.errors import DistillationError

METRIC = 'mIoU'
TEACHER = 'teacher'
# the controls: the student without a teacher, the same for as many seconds as a
# distillation takes, and on the images of a distillation
ALONE = 'alone'
EQUAL_TIME = 'alone_equal_time'
SAME_IMAGES = 'no_teacher'

OWN_NAMES = (TEACHER, ALONE, EQUAL_TIME, SAME_IMAGES)
KEYS = ('distiller', 'weights', 'title', 'reference', 'note', 'cfg', 'images')


class ComparisonError(DistillationError):
    """A comparison with a wrong setting, or results that do not belong to it."""


@dataclass(frozen=True)
class Method:
    """A control, or a distillation on one set of images.

    Attributes:
        name (str): ``METHOD``, or ``METHOD@IMAGES`` where the comparison has several
            sets of images; the name of its folder.
        title (str): Its name in tables and plots.
        images (str): Its set of images; '' for the student's own.
        reference (str): Where it comes from, usually a URL.
        note (str): What a reader of the table should know, such as a weight that is
            not the published one.
        distiller (dict, optional): MMRazor's ConfigurableDistiller; None for a control.
        fragments (list[dict]): Merged into the run's config, in this order.
        control (str): The run on the same images without a teacher.
    """

    name: str
    title: str
    images: str = ''
    reference: str = ''
    note: str = ''
    distiller: dict | None = None
    fragments: list = field(default_factory=list)
    control: str = ALONE


@dataclass(frozen=True)
class Comparison:
    """A student, a teacher, and the ways to distil the one from the other.

    Attributes:
        path (Path): The config file.
        student (Path): The student's own config; the budget is the one in it.
        teacher (Path): The teacher's own config.
        teacher_ckpt (str, optional): Its checkpoint: a file, a URL, or a pattern
            that one file matches. None: it is trained as part of the comparison.
        methods (dict[str, Method]): By name, controls included.
        seeds (list[int]): Each method is trained once with each.
        equal_time (str, optional): The method whose seconds EQUAL_TIME gets. None:
            the one that takes longest.
        early_stopping (dict): Of :class:`ValidationHook`; {} for none.
        cfg (dict): Merged into the configs of student and teacher.
    """

    path: Path
    student: Path
    teacher: Path
    teacher_ckpt: str | None
    methods: dict
    seeds: list
    equal_time: str | None
    early_stopping: dict
    cfg: dict


def read_comparison(path) -> Comparison:
    """Read a config file such as those in projects/comparison/configs.

    It has ``student``, ``teacher`` and ``methods``, and may have ``teacher_ckpt``,
    ``seeds`` (default: 0, 1, 2), ``equal_time``, ``early_stopping`` and ``cfg``, see
    :class:`Comparison`, and ``images``: by name, the fragment of a config that makes
    a set of images (``train_dataloader``, ``model.student_size``,
    ``model.batch_augment``). Each method is run on each set, or on those that its own
    ``images`` lists, and each set has a control without a teacher. Without ``images``
    all see the student's own. Other names in the file are ignored.

    A method has a ``distiller``: MMRazor's, or the path of a config that has one. It
    may have ``weights``, the ``loss_weight`` of some of its losses by name, a ``cfg``
    to be merged, and ``title``, ``reference`` and ``note``.

    Raises:
        ComparisonError: A setting is missing, unknown, or out of its range.
    """
    try:
        cfg = Config.fromfile(path).to_dict()
    except OSError as error:
        raise ComparisonError(
            f'comparison {str(path)!r} is no config file: {error}'
        ) from error
    missing = [name for name in ('student', 'teacher', 'methods') if name not in cfg]
    if missing:
        raise ComparisonError(
            f'{path}: no {", ".join(missing)}; a comparison has the paths of the '
            'configs of its student and teacher, and its methods, see '
            'projects/comparison/configs'
        )
    for role in ('student', 'teacher'):
        if not Path(cfg[role]).is_file():
            raise ComparisonError(
                f'{path}: {role}={cfg[role]!r} is no file; give the path of its own '
                "config, from this file's folder by '{{ fileDirname }}/...'"
            )
    seeds = cfg.get('seeds', [0, 1, 2])
    if (
        not seeds
        or not all(isinstance(s, int) and s >= 0 for s in seeds)
        or len(set(seeds)) < len(seeds)
    ):
        raise ComparisonError(
            f'{path}: seeds={seeds!r}; expected different numbers from 0 on'
        )
    methods = _methods(path, cfg['methods'], cfg.get('images', {'': {}}))
    equal_time = cfg.get('equal_time')
    distilled = [name for name, method in methods.items() if method.distiller]
    if equal_time not in (None, *distilled):
        raise ComparisonError(
            f'{path}: equal_time={equal_time!r}; expected one of {", ".join(distilled)}'
        )
    return Comparison(
        path=Path(path),
        student=Path(cfg['student']).resolve(),
        teacher=Path(cfg['teacher']).resolve(),
        teacher_ckpt=cfg.get('teacher_ckpt'),
        methods=methods,
        seeds=list(seeds),
        equal_time=equal_time,
        early_stopping=cfg.get('early_stopping') or {},
        cfg=cfg.get('cfg') or {},
    )


def _methods(path, methods, sets) -> dict[str, Method]:
    """The controls, then every method on its images."""
    distillers = {name: _distiller(path, name, own) for name, own in methods.items()}
    found = [
        Method(ALONE, 'alone'),
        Method(EQUAL_TIME, 'alone, equal time'),
    ]
    for images, fragment in sets.items():
        at = f'@{images}' if images else ''
        control = SAME_IMAGES + at if fragment else ALONE
        if fragment:
            title = 'same images, no teacher'
            found.append(Method(control, title, images, fragments=[fragment]))
        for name, own in methods.items():
            if images in own.get('images', sets):
                found.append(
                    Method(
                        name + at,
                        own.get('title', name),
                        images,
                        own.get('reference', ''),
                        own.get('note', ''),
                        distillers[name],
                        [fragment, own.get('cfg', {})],
                        control,
                    )
                )
    for name in (*methods, *sets):
        if name in OWN_NAMES or '/' in name or '@' in name:
            raise ComparisonError(
                f'{path}: methods and images cannot be called {name!r}: they name '
                f'folders, and {", ".join(OWN_NAMES)} have a meaning'
            )
    unknown = {i for own in methods.values() for i in own.get('images', ())} - {*sets}
    if unknown:
        raise ComparisonError(
            f'{path}: no images {", ".join(sorted(unknown))}; there are '
            + ', '.join(map(repr, sets))
        )
    return {method.name: method for method in found}


def _distiller(path, name, settings) -> dict:
    """With the weights that the comparison states."""
    where = f'{path}: methods.{name}'
    unknown = [key for key in settings if key not in KEYS]
    if unknown:
        raise ComparisonError(
            f'{where} has {", ".join(unknown)}; expected some of {", ".join(KEYS)}'
        )
    own = settings.get('cfg', {})
    model = own.get('model', {})
    seen = {'train_dataloader'} & own.keys()
    seen |= {'student_size', 'batch_augment'} & model.keys()
    if seen:
        raise ComparisonError(
            f'{where}.cfg changes the images ({", ".join(sorted(seen))}): make it '
            'an entry of images, which has a control without a teacher'
        )
    distiller = settings.get('distiller')
    if distiller is None:
        raise ComparisonError(f'{where} has no distiller')
    if isinstance(distiller, str):
        try:
            found = Config.fromfile(distiller, import_custom_modules=False).to_dict()
        except OSError as error:
            raise ComparisonError(
                f'{where}.distiller={distiller!r} is no config file: {error}'
            ) from error
        if 'distiller' not in found:
            raise ComparisonError(f'{where}.distiller={distiller!r} has no distiller')
        distiller = found['distiller']
    losses = dict(distiller.get('distill_losses', {}))
    for loss, weight in settings.get('weights', {}).items():
        if loss not in losses:
            raise ComparisonError(
                f'{where}.weights has {loss}; its losses are {", ".join(losses)}'
            )
        losses[loss] = {**losses[loss], 'loss_weight': weight}
    return {**distiller, 'distill_losses': losses}
