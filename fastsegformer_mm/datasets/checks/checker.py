"""The check of a config's splits, from the folders to the pixels."""
import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from mmengine.config import Config
from mmengine.registry import DefaultScope

from .duplicates import find_duplicates
from .listing import list_pairs
from .pad_values import check_pad_values
from .reading import Job, PairFacts, ignored_value, read_pairs
from .report import DatasetReport, Problem, SplitSummary
from .settings import ModelSettings, check_settings, model_settings
from .shares import class_problems, grey_among_colours, pick_sound
from .sources import SPLITS, Source, find_sources, remedy
from .unlabelled import check_unlabelled

Track = Callable[[Iterable[PairFacts], int], Iterable[PairFacts]]


def splits_of(cfg: Config) -> list[str]:
    """The splits that a config declares, in the order train, val, test."""
    return [split for split in SPLITS if cfg.get(f'{split}_dataloader')]


def check_dataset(cfg: Config, splits: Sequence[str] | None = None, *,
                  sample: int | None = None, processes: int = 1,
                  ignore: Sequence[str] = (),
                  track: Track | None = None) -> DatasetReport:
    """Look for what would crash a training or spoil its score.

    Folders, split files and options are always looked at as a whole. Labels are read
    as the LoadAnnotations of the pipeline reads them, images as its
    LoadImageFromFile.

    Args:
        cfg (Config): With ``{split}_dataloader`` of each split, and ``model`` (of a
            distillation the student counts).
        splits (Sequence[str], optional): Of 'train', 'val', 'test'. Defaults to
            None: those that the config has.
        sample (int, optional): Pairs of each split to look into, evenly spread, the
            same every time, and as many of its unlabelled images. Defaults to None:
            all.
        processes (int): How many read at once. Defaults to 1.
        ignore (Sequence[str]): Kinds of problems to pass over.
        track (Callable, optional): Given the facts as they come and their number,
            passes them on; for a progress bar.

    Returns:
        DatasetReport: The problems are in the order settings, files, pixels,
        classes, duplicates, whatever ``processes`` is.

    Raises:
        ValueError: For a split that the config has no dataloader for, ``sample`` or
            ``processes`` below 1.
    """
    started = time.perf_counter()
    splits = _known_splits(cfg, splits)
    for name, value in (('sample', sample), ('processes', processes)):
        if value is not None and value < 1:
            raise ValueError(f'{name} is {value}, expected 1 or more')
    # the config's own, whatever another one has left behind in this process
    scope = cfg.get('default_scope') or 'mmseg'
    with DefaultScope.overwrite_default_scope(scope):
        report = _check(cfg, splits, sample, processes, ignore, track, scope)
    report.seconds = time.perf_counter() - started
    return report


def _check(cfg, splits, sample, processes, ignore, track, scope):
    """The same, in the scope of the config."""
    report = DatasetReport(str(cfg.filename or ''))
    settings = model_settings(cfg)
    sources: list[Source] = []
    for split in splits:
        found, problems = find_sources(cfg, split)
        sources += found
        report.problems += problems
    report.problems += check_settings(cfg, sources, settings)
    report.problems += check_pad_values(sources, settings)
    report.problems += check_unlabelled(cfg, sources, settings)
    report.problems += [
        Problem('not-understood', 'warning', s.split, s.where,
                f'images of {s.name}: {s.not_understood}', 'LoadImageFromFile',
                'their pixels are not checked') for s in sources if s.not_understood]

    jobs, listed = _list(report, splits, sources, sample)
    reading = read_pairs(
        jobs, sources, settings, processes, scope, cfg.get('custom_imports'))
    facts: dict[str, list[PairFacts]] = {split: [] for split in splits}
    for fact in (track(reading, len(jobs)) if track else reading):
        facts[sources[fact.source].split].append(fact)
        report.problems += fact.problems
    for split in splits:
        _count(report.splits[split], facts[split], sources, settings)
        if facts[split]:
            report.problems += grey_among_colours(split, facts[split])
            report.problems += class_problems(
                report.splits[split], facts[split], sources, settings,
                complete=sample is None)
    report.problems += find_duplicates(facts, listed)
    report.problems = [p for p in dict.fromkeys(report.problems)
                       if p.kind not in ignore]
    _pick_samples(report, facts)
    return report


def _known_splits(cfg: Config, splits: Sequence[str] | None) -> list[str]:
    known = splits_of(cfg)
    for split in splits or ():
        if split not in known:
            raise ValueError(
                f'{cfg.filename or "the config"} has no {split}_dataloader, expected '
                f'one of {", ".join(known) or "none"}')
    # as they are numbered, whatever the order they are asked for in
    return [split for split in known if splits is None or split in splits]


def _list(report: DatasetReport, splits: Sequence[str], sources: list[Source],
          sample: int | None) -> tuple[list[Job], dict[str, list]]:
    """The pairs to look into, and all pairs of each split."""
    jobs: list[Job] = []
    listed: dict[str, list] = {}
    # what is wrong with a folder that two splits share is told once
    told: set[tuple] = set()
    for split in splits:
        mine = [s for s in sources if s.split == split]
        summary = SplitSummary(
            split, classes=max((s.classes for s in mine), key=len, default=()),
            palette=max((s.palette for s in mine), key=len, default=[]),
            background=max(mine, key=lambda s: len(s.classes)).background_index
            if mine else None)
        report.splits[split] = summary
        pairs: dict[tuple, int] = {}
        for source in mine:
            listing = list_pairs(source)
            summary.images += listing.images
            summary.labels += listing.labels
            summary.unlabelled += listing.images * (not source.labelled)
            for problem in listing.problems:
                key = (problem.kind, problem.file, problem.value)
                if problem.severity == 'error' or key not in told:
                    report.problems.append(problem)
                told.add(key)
            if not listing.images and not listing.problems:
                report.problems.append(Problem(
                    'no-images', 'error', split, source.where,
                    f'{source.name} has no images', 'images', remedy(source)))
            for pair in listing.pairs:
                pairs.setdefault(pair, sources.index(source))
        summary.pairs = sum(label is not None for _, label in pairs)
        listed[split] = list(pairs)
        for labelled in (True, False):  # of which there may be a hundred times more
            chosen = [(index, *pair) for pair, index in pairs.items()
                      if sources[index].labelled == labelled]
            if sample is not None and sample < len(chosen):
                spread = np.linspace(0, len(chosen) - 1, sample).round().astype(int)
                chosen = [chosen[k] for k in spread]
            jobs += chosen
    return jobs, listed


def _count(summary: SplitSummary, facts: list[PairFacts], sources: list[Source],
           settings: ModelSettings) -> None:
    """Add up what was seen."""
    classes = len(summary.classes)
    summary.checked = len(facts)
    if facts:
        source = sources[facts[0].source]
        summary.ignore_index = ignored_value(source, settings)
        summary.reduce_zero_label = source.reduce_zero_label
        summary.label_map = source.label_map
    for fact in facts:
        if fact.size is not None:
            summary.image_sizes[tuple(int(n) for n in fact.size)] += 1
        if fact.counts is not None:
            summary.class_pixels += fact.counts[:classes]
            summary.class_images += fact.counts[:classes] > 0
            ignored = ignored_value(sources[fact.source], settings)
            if classes <= ignored < 256:
                summary.ignored_pixels += int(fact.counts[ignored])


def _pick_samples(report: DatasetReport, facts: dict[str, list[PairFacts]]) -> None:
    """Choose sound pairs to draw."""
    wrong = {problem.file for problem in report.problems}
    for split, summary in report.splits.items():
        sound = [fact for fact in facts[split] if fact.counts is not None
                 and fact.image not in wrong and fact.label not in wrong]
        summary.samples = pick_sound(sound, summary.classes, summary.background)
