"""What a split shows as a whole: its classes, its channels, its examples."""
from collections.abc import Iterator

import numpy as np

from .reading import PairFacts, ignored_value
from .report import Problem, SplitSummary
from .settings import ModelSettings
from .sources import Source

SAMPLES = 6
# as in the overlay sheet: choosing among more takes longer than it is worth
MOST_CANDIDATES = 300


def class_problems(summary: SplitSummary, facts: list[PairFacts],
                   sources: list[Source], settings: ModelSettings,
                   complete: bool) -> Iterator[Problem]:
    """Classes that never occur, and what that says about the labels.

    Args:
        summary (SplitSummary): With its counts.
        facts (list[PairFacts]): What was looked at.
        sources (list[Source]): The data sets.
        settings (ModelSettings): What the network expects.
        complete (bool): Whether the whole split was looked at.

    Yields:
        Problem: A warning a class, when ``complete``.
    """
    mine = [fact for fact in facts if fact.counts is not None]
    if not mine:
        return
    split, source = summary.split, sources[mine[0].source]
    present = np.flatnonzero(summary.class_pixels)
    ignored = ignored_value(source, settings)
    labelled = int(summary.class_pixels.sum())
    total = max(labelled + summary.ignored_pixels, 1)
    share = 100 * summary.ignored_pixels / total
    if source.reduce_zero_label and summary.ignored_pixels and len(present) and (
            present[-1] == len(summary.classes) - 2):
        yield Problem(
            'reduce-zero-label', 'warning', split,
            f'{source.where}.reduce_zero_label',
            f'True, the labels hold no value {len(summary.classes)}, and '
            f'{share:.1f} % of the pixels are 0 or {ignored} and ignored',
            'True only where label 0 is no class',
            'set it to False if the labels count from 0')
    if len(summary.classes) > 1 and len(present) == 1 and share > 0 and len(mine) > 1:
        yield Problem(
            'one-class-and-ignored', 'warning', split,
            source.label_folder or source.where,
            f'only {summary.classes[present[0]]}, and {share:.1f} % of the pixels '
            f'ignored ({ignored})', 'pixels of several classes',
            f'if {ignored} is a class there: python tools/dataset_converters/'
            'color_masks_to_index.py SRC DST --colors with its grey as g,g,g')
    if not complete:
        return
    for k, name in enumerate(summary.classes):
        if not summary.class_pixels[k]:
            yield Problem(
                'class-never-occurs', 'warning', split, f'class {k} ({name})',
                f'0 of {labelled} pixels in {len(mine)} labels',
                'pixels of every class',
                'see whether the classes are in the order of the label values; '
                + ('nothing can learn it' if split == 'train'
                   else 'its score is undefined'))


def grey_among_colours(split: str, facts: list[PairFacts]) -> Iterator[Problem]:
    """The fewer of grey and colour images, where a split has both.

    A grey image is repeated over the channels by the loader, which is what a set
    of grey images alone should have.
    """
    read = [fact for fact in facts if fact.size is not None]
    grey = [fact for fact in read if fact.one_channel]
    if not grey or len(grey) == len(read):
        return
    odd_is_grey = len(grey) <= len(read) / 2
    for fact in read:
        if fact.one_channel == odd_is_grey:
            kind, other = ('greyscale', 'colour')[::1 if odd_is_grey else -1]
            yield Problem(
                'grey-among-colours', 'warning', split, fact.image, kind,
                f'{other}, as most of the {len(read)} images looked at',
                'see that it belongs here; a grey image is fed as three equal '
                'channels')


def pick_sound(facts: list[PairFacts], classes: tuple,
               background: int | None) -> list[tuple[str, str]]:
    """A few pairs that show every class between them."""
    # imported here, as drawing is not needed to check
    from fastsegformer_mm.visualization import pick_samples

    step = max(-(-len(facts) // MOST_CANDIDATES), 1)
    candidates = facts[::step]
    if not candidates or not classes:
        return []
    counts = [fact.counts[:len(classes)] for fact in candidates]
    chosen = pick_samples(counts, SAMPLES, background)
    return [(candidates[k].image, candidates[k].label) for k in chosen]
