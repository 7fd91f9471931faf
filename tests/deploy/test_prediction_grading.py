"""Grades by hand-computed figures, and rules that are none."""

from pathlib import Path

import pytest
import yaml

from fastsegformer_mm.datasets import NavelOrangeDataset
from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.prediction import read_grading
from fastsegformer_mm.deploy.prediction.measure import ClassFigures

EXAMPLES = sorted((Path(__file__).parents[2] / 'configs/grading').glob('*.yml'))
CLASSES = ('background', 'ulcer', 'rust')
RULE = {
    'grades': [
        {
            'name': 'C',
            'any': [
                {'class': 'ulcer', 'share_above': 0.1},
                {'class': ['ulcer', 'rust'], 'pixels_above': 50},
            ],
        },
        {
            'name': 'B',
            'any': [{'class': 'all', 'regions_above': 2, 'largest_above': 9}],
        },
    ],
    'otherwise': 'A',
}


def read(tmp_path, rule):
    path = tmp_path / 'rule.yml'
    path.write_text(yaml.safe_dump(rule))
    return read_grading(path, CLASSES)


def figures(ulcer=(), rust=()):
    return {'ulcer': ClassFigures(*ulcer), 'rust': ClassFigures(*rust)}


@pytest.mark.parametrize(
    ('found', 'grade', 'reasons'),
    [
        (figures(), 'A', []),
        # at the limit is not above it
        (figures((50, 0.1)), 'A', []),
        (figures((11, 0.11)), 'C', ['ulcer: share 0.11 > 0.1']),
        (figures((), (11, 0.11)), 'A', []),
        (figures((30, 0.0), (21, 0.0)), 'C', ['ulcer + rust: pixels 51 > 50']),
        (
            figures((30, 0.2), (21, 0.0)),
            'C',
            ['ulcer: share 0.2 > 0.1', 'ulcer + rust: pixels 51 > 50'],
        ),
        # all thresholds of one condition; regions add up, the largest is one
        (figures((0, 0, None, 2, 9), (0, 0, None, 1, 8)), 'A', []),
        (figures((0, 0, None, 1, 10), (0, 0, None, 1, 0)), 'A', []),
        (
            figures((0, 0, None, 2, 9), (0, 0, None, 1, 10)),
            'B',
            ['all: regions 3 > 2, largest 10 > 9'],
        ),
        # the worst counts
        (figures((60, 0, None, 9, 60)), 'C', ['ulcer + rust: pixels 60 > 50']),
    ],
)
def test_grades(tmp_path, found, grade, reasons):
    assert read(tmp_path, RULE)(found) == (grade, reasons)


def test_shares_of_the_part(tmp_path):
    rule = read(tmp_path, {**RULE, 'shares_of': 'part'})
    assert rule(figures((1, 0.5, 0.05), (0, 0, 0.0))) == ('A', [])
    assert rule(figures((1, 0.01, 0.2), (0, 0, 0.0)))[0] == 'C'
    grade, reasons = rule(figures((1, 0.5, None)))
    assert grade is None
    assert 'no part mask' in reasons[0]


def changed(**changes):
    return {**RULE, **changes}


def one(**condition):
    return changed(grades=[{'name': 'C', 'any': [condition]}])


@pytest.mark.parametrize(
    ('rule', 'said'),
    [
        (['C'], "the rule is ['C']; expected grades, otherwise, shares_of"),
        (changed(grads=1), "the rule has 'grads'; expected only grades"),
        (changed(grades=[]), 'grades is []; expected a list, the worst grade first'),
        (changed(otherwise=None), 'otherwise is None; expected the name'),
        (changed(otherwise='B'), "grade 'B' is there twice"),
        (changed(shares_of='fruit'), "shares_of is 'fruit'; expected 'frame' or"),
        (changed(grades=[{'name': 1, 'any': []}]), 'grade 1 has the name 1'),
        (changed(grades=[{'name': 'C', 'any': []}]), "any of 'C' is []; exp"),
        (changed(grades={'C': 1}), "grades is {'C': 1}; expected a list, the worst"),
        (changed(grades=['C']), "grade 1 is 'C'; expected any, name"),
        (changed(grades=[{'name': 'C', 'any': {'class': 'rust'}}]), "any of 'C' is {"),
        (changed(grades=[{'name': 'C', 'any': [1]}]), "a condition of 'C' is 1; expe"),
        (changed(otherwise=True), 'otherwise is True; expected the name of the grade'),
        (changed(shares_of=['part']), "shares_of is ['part']; expected 'frame' or"),
        (one(share_above=0.1), 'has class None; expected one of ulcer, rust, a list'),
        (one(**{'class': 'scab', 'share_above': 0.1}), "class 'scab'; expected one"),
        (one(**{'class': ['all', 'rust'], 'share_above': 0.1}), 'expected one of'),
        (one(**{'class': 'background', 'share_above': 0.1}), 'expected one of ulcer'),
        *(
            (one(**{'class': value, 'share_above': 0.1}), f'has class {value!r}; exp')
            for value in (1, 1.5, True, [], [1], [['rust']], {'rust': 1}, None, '')
        ),
        (one(**{'class': ['rust', 'rust'], 'pixels_above': 9}), 'a list of them, each'),
        (one(**{'class': 'rust', 'pixels_above': True}), "pixels_above of 'C' is True"),
        (one(**{'class': 'rust', 'pixels_above': [1]}), "pixels_above of 'C' is [1];"),
        (one(**{'class': 'rust', 'share_above': float('nan')}), "of 'C' is nan; expe"),
        (one(**{'class': 'rust'}), 'has no threshold; expected one or more of share_'),
        (one(**{'class': 'rust', 'share_above': 1.5}), 'from 0 to below 1'),
        (one(**{'class': 'rust', 'pixels_above': -1}), "pixels_above of 'C' is -1"),
        (one(**{'class': 'rust', 'pixels_above': 'x'}), 'expected a number from 0'),
        (one(**{'class': 'rust', 'area_above': 1}), "has 'area_above'; expected only"),
    ],
)
def test_rules_that_are_none(tmp_path, rule, said):
    with pytest.raises(DeployError) as error:
        read(tmp_path, rule)
    assert said in str(error.value)
    assert 'rule.yml' in str(error.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(DeployError, match='no such grading rule'):
        read_grading(tmp_path / 'none.yml', CLASSES)
    path = tmp_path / 'broken.yml'
    path.write_text('grades: [')
    with pytest.raises(DeployError, match=r'broken\.yml: cannot be read as YAML'):
        read_grading(path, CLASSES)
    path.write_text('[' * 9000)
    with pytest.raises(DeployError, match=r'broken\.yml: cannot be read as YAML'):
        read_grading(path, CLASSES)


def test_the_example_is_one_for_navel_oranges():
    assert [path.name for path in EXAMPLES] == ['navel_orange.yml']
    rule = read_grading(EXAMPLES[0], NavelOrangeDataset.METAINFO['classes'])
    names = ('sunburn', 'ulcer', 'wind scarring')

    def grade(**found):
        empty = {name: ClassFigures() for name in names}
        return rule({**empty, **found})[0]

    assert grade() == 'first'
    assert grade(ulcer=ClassFigures(pixels=51, share=0.001)) == 'second'
    assert grade(ulcer=ClassFigures(pixels=51, share=0.011)) == 'reject'
    assert grade(sunburn=ClassFigures(pixels=51, share=0.011)) == 'second'
    scars = ClassFigures(pixels=900, share=0.009, regions=6, largest=201)
    assert grade(**{'wind scarring': scars}) == 'second'
