"""A grade by thresholds."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from fastsegformer_mm.utils.background import AUTO, background_class

from ..errors import DeployError
from .measure import ClassFigures

ALL = 'all'
MEASURES = {
    'share_above': 'share',
    'pixels_above': 'pixels',
    'regions_above': 'regions',
    'largest_above': 'largest',
}


@dataclass(frozen=True)
class Condition:
    """Thresholds that have to be exceeded together.

    Args:
        classes (tuple[str]): Classes that count together; ('all',) for all defects.
        share_above (float, optional): More than this share of the frame's or part's
            pixels, 0 to 1. This and the following default to None, no condition.
        pixels_above (int, optional): More pixels.
        regions_above (int, optional): More regions.
        largest_above (int, optional): Pixels of the largest region.
    """

    classes: tuple[str, ...]
    share_above: float | None = None
    pixels_above: int | None = None
    regions_above: int | None = None
    largest_above: int | None = None

    def reason(self, figures: dict[str, ClassFigures], of: str) -> str | None:
        """Which thresholds are exceeded, in words; None unless all are."""
        names = figures if self.classes == (ALL,) else self.classes
        chosen = [figures[name] for name in names]
        share = 'share' if of == 'frame' else 'part_share'
        values = {
            'share': sum(getattr(f, share) for f in chosen),
            'pixels': sum(f.pixels for f in chosen),
            'regions': sum(f.regions for f in chosen),
            'largest': max((f.largest for f in chosen), default=0),
        }
        words = []
        for key, name in MEASURES.items():
            limit = getattr(self, key)
            if limit is None:
                continue
            if not values[name] > limit:
                return None
            words.append(f'{name} {values[name]:.6g} > {limit:.6g}')
        return f'{" + ".join(self.classes)}: {", ".join(words)}'


@dataclass(frozen=True)
class Grading:
    """Grades from the worst to the best; the first that applies is given.

    Args:
        grades (tuple): (name, conditions) each; one condition is enough.
        otherwise (str): The grade of what none of them applies to.
        shares_of (str): What shares are meant of. 'frame', or 'part': what no part
            mask is known of gets no grade then. Defaults to 'frame'.

    Example:
        >>> rule = Grading((('reject', (Condition(('rust',), share_above=0.1),)),),
        ...                'good')
        >>> rule({'rust': ClassFigures(pixels=20, share=0.2)})
        ('reject', ['rust: share 0.2 > 0.1'])
        >>> rule({'rust': ClassFigures(pixels=10, share=0.1)})
        ('good', [])
    """

    grades: tuple[tuple[str, tuple[Condition, ...]], ...]
    otherwise: str
    shares_of: str = 'frame'

    def __call__(self, figures: dict[str, ClassFigures]):
        """The grade of a frame, and the reasons for it.

        Args:
            figures (dict[str, ClassFigures]): Of
                :func:`~fastsegformer_mm.deploy.prediction.measure.measure`.

        Returns:
            tuple[str | None, list[str]]: None without a mask of the part, where
            shares are meant of it.
        """
        if self.shares_of == 'part' and any(
            f.part_share is None for f in figures.values()
        ):
            return None, ['no part mask, and shares are meant of the part']
        for name, conditions in self.grades:
            reasons = [c.reason(figures, self.shares_of) for c in conditions]
            reasons = [reason for reason in reasons if reason]
            if reasons:
                return name, reasons
        return self.otherwise, []


def read_grading(
    path, classes: Sequence[str], background: str | int | None = AUTO
) -> Grading:
    """A grading rule from its file; see configs/grading.

    Args:
        path (str | Path): A YAML or JSON file.
        classes (Sequence[str]): Of the model. A rule may speak of all of them but
            the background.
        background (str | int | None): Which class that is, as in
            :func:`~fastsegformer_mm.utils.background.background_class`.

    Raises:
        DeployError: The file is not there or is no grading rule for these classes.
    """
    if not Path(path).is_file():
        raise DeployError(f'{path}: no such grading rule; expected a .yml file')
    try:
        rule = yaml.safe_load(Path(path).read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise DeployError(f'{path}: cannot be read as YAML: {error}') from error
    background = background_class(classes, background)
    classes = [name for k, name in enumerate(classes) if k != background]
    return _Reader(str(path), tuple(classes)).rule(rule)


class _Reader:
    """Turns the content of a rule's file into a :class:`Grading`."""

    def __init__(self, path, classes):
        self.path, self.classes = path, classes

    def fail(self, text):
        raise DeployError(f'{self.path}: {text}')

    def rule(self, rule) -> Grading:
        self.keys(rule, {'grades', 'otherwise', 'shares_of'}, 'the rule')
        shares_of = rule.get('shares_of', 'frame')
        if shares_of not in ('frame', 'part'):
            self.fail(f"shares_of is {shares_of!r}; expected 'frame' or 'part'")
        grades, otherwise = rule.get('grades'), rule.get('otherwise')
        if not isinstance(grades, (list, tuple)) or not grades:
            self.fail(f'grades is {grades!r}; expected a list, the worst grade first')
        if not isinstance(otherwise, str):
            self.fail(
                f'otherwise is {otherwise!r}; expected the name of the grade that is '
                'given where none of the others applies'
            )
        grades = tuple(self.grade(grade, k) for k, grade in enumerate(grades))
        names = [name for name, _ in grades] + [otherwise]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            self.fail(f'grade {twice[0]!r} is there twice; expected each once')
        return Grading(grades, otherwise, shares_of)

    def grade(self, grade, number):
        where = f'grade {number + 1}'
        self.keys(grade, {'name', 'any'}, where)
        name, conditions = grade.get('name'), grade.get('any')
        if not isinstance(name, str):
            self.fail(f'{where} has the name {name!r}; expected a text')
        if not isinstance(conditions, (list, tuple)) or not conditions:
            self.fail(
                f'any of {name!r} is {conditions!r}; expected a list of conditions'
            )
        return name, tuple(self.condition(c, repr(name)) for c in conditions)

    def condition(self, condition, where) -> Condition:
        limits = [f.name for f in fields(Condition)][1:]
        self.keys(condition, {'class', *limits}, f'a condition of {where}')
        named = condition.get('class')
        classes = tuple(named) if isinstance(named, (list, tuple)) else (named,)
        unknown = [c for c in classes if c not in (*self.classes, ALL)]
        if (
            not classes
            or unknown
            or (ALL in classes and len(classes) > 1)
            or len(set(classes)) < len(classes)
        ):
            self.fail(
                f'a condition of {where} has class {named!r}; expected one of '
                f'{", ".join(self.classes)}, a list of them, each once, or {ALL}'
            )
        given = {key: condition[key] for key in limits if key in condition}
        if not given:
            self.fail(
                f'a condition of {where} has no threshold; expected one or more of '
                + ', '.join(limits)
            )
        for key, value in given.items():
            top = 1 if key == 'share_above' else float('inf')
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not 0 <= value < top
            ):
                self.fail(
                    f'{key} of {where} is {value!r}; expected a number from 0'
                    + (' to below 1' if top == 1 else '')
                )
        return Condition(classes, **given)

    def keys(self, found, known, where):
        if not isinstance(found, dict):
            self.fail(f'{where} is {found!r}; expected {", ".join(sorted(known))}')
        unknown = sorted(set(found) - known, key=str)
        if unknown:
            self.fail(
                f'{where} has {unknown[0]!r}; expected only {", ".join(sorted(known))}'
            )
