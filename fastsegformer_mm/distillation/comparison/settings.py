"""What is compared, read from a config file."""

from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

from .errors import ComparisonError

# the student without a teacher, to which all others are compared
ALONE = 'alone'
TEACHER = 'teacher'


@dataclass(frozen=True)
class Method:
    """One way to distil.

    Attributes:
        name (str): Its key in the config, and the name of its folder.
        title (str): What tables and plots call it. Defaults to the name.
        reference (str): Where it comes from, mostly a URL.
        note (str): What a reader of the table should know, as a weight that is not
            the published one.
        distiller (dict, optional): MMRazor's ConfigurableDistiller; None only for
            'alone'. A config file may name another, whose ``distiller`` is taken.
        weights (dict[str, float]): The ``loss_weight`` of every loss of it, by name.
        imports (list[str]): Modules that register its parts.
        custom_hooks (list[dict]): Hooks that it needs beside the student's own.
    """

    name: str
    title: str = ''
    reference: str = ''
    note: str = ''
    distiller: dict | None = None
    weights: dict = field(default_factory=dict)
    imports: list = field(default_factory=list)
    custom_hooks: list = field(default_factory=list)


@dataclass(frozen=True)
class Comparison:
    """A student, a teacher, and the ways to distil the one from the other.

    Attributes:
        path (Path): The config file.
        student (Path): The student's own config; the budget is the one in it.
        teacher (Path): The teacher's own config.
        teacher_ckpt (str, optional): Its checkpoint: a file, a URL, or a pattern
            that one file matches.
        methods (dict[str, Method]): By name; 'alone' is the first.
        seeds (list[int]): Each method is trained once with each.
        checkpoint_interval (int, optional): Iterations (epochs, if the student's
            config counts them) between the checkpoints that a killed run goes on
            from. None: as in the student's config.
    """

    path: Path
    student: Path
    teacher: Path
    teacher_ckpt: str | None
    methods: dict
    seeds: list
    checkpoint_interval: int | None


def read_comparison(path) -> Comparison:
    """Read a config file such as those in projects/comparison/configs.

    It has ``student``, ``teacher`` and ``methods``, and may have ``teacher_ckpt``,
    ``seeds`` (default: 0, 1, 2) and ``checkpoint_interval``; see
    :class:`Comparison` and :class:`Method`. 'alone' is added to the methods. Other
    names in it are the file's own business.

    Raises:
        ComparisonError: Something is missing in it, or is not what it should be.
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
    interval = cfg.get('checkpoint_interval')
    if interval is not None and (not isinstance(interval, int) or interval < 1):
        raise ComparisonError(
            f'{path}: checkpoint_interval={interval!r}; expected a number above 0'
        )
    methods = {ALONE: Method(ALONE, 'alone')}
    for name, settings in cfg['methods'].items():
        methods[name] = _method(path, name, settings)
    return Comparison(
        path=Path(path),
        student=Path(cfg['student']).resolve(),
        teacher=Path(cfg['teacher']).resolve(),
        teacher_ckpt=cfg.get('teacher_ckpt'),
        methods=methods,
        seeds=list(seeds),
        checkpoint_interval=interval,
    )


def _method(path, name, settings) -> Method:
    if name == TEACHER or '/' in name:
        raise ComparisonError(
            f'{path}: a method cannot be called {name!r}: it is the name of a folder, '
            f'and {TEACHER!r} is that of the teacher'
        )
    known = [f for f in Method.__dataclass_fields__ if f != 'name']
    unknown = [key for key in settings if key not in known]
    if unknown:
        raise ComparisonError(
            f'{path}: methods.{name} has {", ".join(unknown)}; expected some of '
            + ', '.join(known)
        )
    if (settings.get('distiller') is None) != (name == ALONE):
        raise ComparisonError(
            f'{path}: methods.{name} has '
            + ('a' if name == ALONE else 'no')
            + f' distiller; {ALONE!r} is the student without a teacher, all others '
            'have one'
        )
    settings = {'name': name, 'title': name, **settings}
    if name != ALONE:
        settings['distiller'] = _distiller(path, name, settings)
    return Method(**settings)


def _distiller(path, name, settings) -> dict:
    """With the weights that the comparison states."""
    distiller = settings['distiller']
    if isinstance(distiller, str):
        try:
            found = Config.fromfile(distiller, import_custom_modules=False).to_dict()
        except OSError as error:
            raise ComparisonError(
                f'{path}: methods.{name}.distiller={distiller!r} is no config file: '
                f'{error}'
            ) from error
        if 'distiller' not in found:
            raise ComparisonError(
                f'{path}: methods.{name}.distiller={distiller!r} has no distiller'
            )
        distiller = found['distiller']
    losses = distiller.get('distill_losses', {})
    weights = settings.get('weights', {})
    if weights.keys() != losses.keys():
        raise ComparisonError(
            f'{path}: methods.{name}.weights has {", ".join(weights) or "nothing"}; '
            f'expected the weight of every loss: {", ".join(losses)}'
        )
    weighed = {k: {**loss, 'loss_weight': weights[k]} for k, loss in losses.items()}
    return {**distiller, 'distill_losses': weighed}
