"""The same picture twice: between splits, and within one."""
from collections.abc import Iterable

from .near_copies import find_near_copies
from .reading import PairFacts
from .report import Problem

Facts = dict[str, list[PairFacts]]
Listed = dict[str, list[tuple[str, str | None]]]


def find_duplicates(facts: Facts, listed: Listed) -> list[Problem]:
    """Pictures that recur, by their decoded pixels and by their path.

    A picture that is trained on and tested on makes the score too good: an error.
    In validation it makes the choice of the checkpoint worse: a warning, as are
    duplicates within a split. Validation and test may be one set by design. Copies
    that were turned, mirrored or saved again are warnings: published sets have them,
    and are to be trained on all the same.

    Args:
        facts (dict[str, list[PairFacts]]): Of each split, what was looked at.
        listed (dict[str, list[tuple]]): Of each split, all pairs that it has.

    Returns:
        list[Problem]: Each names the file and its double.
    """
    problems: list[Problem] = []
    for other, severity in (('test', 'error'), ('val', 'warning')):
        if 'train' in listed and other in listed:
            same = list(_shared(other, severity, facts, listed))
            problems += same
            problems += _near(other, facts, {problem.file for problem in same})
    for split, seen in facts.items():
        problems += _within(split, seen)
    return problems


HARM = {
    'test': 'the score is too good, as what was learnt by heart is tested',
    'val': 'the best checkpoint is chosen on what was learnt by heart'}


def _near(other: str, facts: Facts, known: set[str]) -> Iterable[Problem]:
    """Copies of training images that another split has."""
    train = facts.get('train', ())
    mine = [fact for fact in facts.get(other, ()) if fact.image not in known]
    for copy in find_near_copies([fact.fingerprint for fact in mine],
                                 [fact.fingerprint for fact in train]):
        original = train[copy.original].image
        yield Problem(
            f'train-{other}-near-copy', 'warning', other, mine[copy.index].image,
            f'the training image {original}, {copy.how} '
            f'({100 * copy.likeness:.1f} % alike)',
            f'a picture that is not trained on ({HARM[other]})',
            'put all copies of a picture into one split, or take '
            f'{original} out of train')


def _shared(other: str, severity: str, facts: Facts, listed: Listed
            ) -> Iterable[Problem]:
    """Pictures of the training images that another split has, too."""
    train_paths = {image for image, _ in listed['train']}
    train_hashes: dict[str, str] = {}
    for fact in facts.get('train', ()):
        if fact.image_hash:
            train_hashes.setdefault(fact.image_hash, fact.image)
    hashes = {fact.image: fact.image_hash for fact in facts.get(other, ())}
    for image, _ in dict.fromkeys(listed[other]):
        if image in train_paths:
            value, double = f'the same file is in train and {other}', 'this file'
        elif hashes.get(image) in train_hashes:
            double = train_hashes[hashes[image]]
            value = f'pixel for pixel the training image {double}'
        else:
            continue
        yield Problem(
            f'train-{other}-duplicate', severity, other, image, value,
            f'a picture that is not trained on ({HARM[other]})',
            f'take {double} out of train, or the double out of {other}')


def _within(split: str, seen: list[PairFacts]) -> Iterable[Problem]:
    """Equal pictures in one split, with equal or different labels."""
    first: dict[str, PairFacts] = {}
    for fact in seen:
        if not fact.image_hash:
            continue
        original = first.setdefault(fact.image_hash, fact)
        if original.image == fact.image:
            continue
        if original.label_hash and fact.label_hash and (
                original.label_hash != fact.label_hash):
            yield Problem(
                'duplicate-other-label', 'warning', split, fact.image,
                f'the same picture as {original.image}, with another label',
                'one label for one picture',
                'compare the two labels and take the worse pair out')
        else:
            yield Problem(
                'duplicate', 'warning', split, fact.image,
                f'the same picture as {original.image}', 'each picture once',
                'take one of them out: it counts twice')
