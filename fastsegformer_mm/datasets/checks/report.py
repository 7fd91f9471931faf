"""What a check of a data set found."""
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fastsegformer_mm.utils.background import AUTO
from fastsegformer_mm.utils.names import escaped

SEVERITIES = ('error', 'warning')


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with one file, folder or setting.

    Args:
        kind (str): What is wrong, the same word for all files of which it is, as
            'size-differs'.
        severity (str): 'error' (training on this would crash or be wrong) or
            'warning' (somebody should look at it).
        split (str): 'train', 'val' or 'test'; '' where it is about no single one.
        file (str): The file or folder, or the option of the config.
        value (str): What was found.
        expected (str): What should have been.
        way_out (str): What to do about it.

    Raises:
        ValueError: For a ``severity`` other than these two.

    Example:
        >>> print(Problem('size-differs', 'error', 'train', 'a.png', '64x64',
        ...               "100x80, the image's", 'export the label again'))
        train: size-differs: a.png: 64x64, expected 100x80, the image's; export \
the label again
    """

    kind: str
    severity: str
    split: str
    file: str
    value: str
    expected: str
    way_out: str

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f'severity is {self.severity!r}, expected one of '
                             f'{", ".join(SEVERITIES)}')

    def __str__(self) -> str:
        where = f'{self.split}: ' if self.split else ''
        line = (f'{where}{self.kind}: {escaped(self.file)}: {self.value}, expected '
                f'{self.expected}; {self.way_out}')
        return escaped(' '.join(line.split()))


@dataclass
class SplitSummary:
    """What a split holds.

    Args:
        split (str): 'train', 'val' or 'test'.
        images (int): Number of images, each counted once.
        labels (int): Number of labels.
        unlabelled (int): Number of images that are meant to have none.
        pairs (int): Number of images that have a label.
        checked (int): Number of pairs of which the pixels were looked at.
        classes (tuple[str, ...]): Names of the classes.
        palette (list): An (R, G, B) a class.
        background (str | int | None): Which class is no object, by name or index;
            None for none. Defaults to 'auto', the one with a known name.
        class_pixels (np.ndarray): Pixels of each class in the labels that were
            looked at, int64, of shape (C, ).
        class_images (np.ndarray): In how many of these labels the class occurs,
            int64, of shape (C, ).
        ignored_pixels (int): Pixels of these labels with the ignore index.
        image_sizes (Counter): Number of images of each (height, width).
        samples (list[tuple[str, str]]): A few sound image and label pairs to draw.
        ignore_index (int): The value that the losses leave out.
        reduce_zero_label (bool), label_map (dict, optional): How the data set turns
            the values in the files into classes.
    """

    split: str
    images: int = 0
    labels: int = 0
    unlabelled: int = 0
    pairs: int = 0
    checked: int = 0
    classes: tuple[str, ...] = ()
    palette: list = field(default_factory=list)
    background: str | int | None = AUTO
    class_pixels: np.ndarray = None
    class_images: np.ndarray = None
    ignored_pixels: int = 0
    image_sizes: Counter = field(default_factory=Counter)
    samples: list[tuple[str, str]] = field(default_factory=list)
    ignore_index: int = 255
    reduce_zero_label: bool = False
    label_map: dict | None = None

    def classes_of(self, values: np.ndarray) -> np.ndarray:
        """What ``LoadAnnotations`` makes of the values in a label file."""
        made = np.array(values, np.int64)
        if self.reduce_zero_label:
            made = np.where(made == 0, 255, made - 1)
            made[made == 254] = 255
        if self.label_map:
            old = made.copy()
            for value, index in self.label_map.items():
                made[old == value] = index
        return made

    def __post_init__(self) -> None:
        for name in ('class_pixels', 'class_images'):
            if getattr(self, name) is None:
                setattr(self, name, np.zeros(len(self.classes), np.int64))


@dataclass
class DatasetReport:
    """What the check of a config's splits found.

    Args:
        config (str): File name of the config.
        splits (dict[str, SplitSummary]): What each split holds.
        problems (list[Problem]): Everything found, a line a file.
        seconds (float): How long it took.
    """

    config: str
    splits: dict[str, SplitSummary] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    seconds: float = 0.

    @property
    def errors(self) -> list[Problem]:
        """The problems that must be solved before training."""
        return [p for p in self.problems if p.severity == 'error']

    @property
    def warnings(self) -> list[Problem]:
        """The problems that somebody should look at."""
        return [p for p in self.problems if p.severity == 'warning']

    @property
    def ok(self) -> bool:
        """Whether nothing stands against training; there may be warnings."""
        return not self.errors

    def by_kind(self, problems: Sequence[Problem] | None = None
                ) -> dict[str, list[Problem]]:
        """Problems by what is wrong, errors first."""
        found: dict[str, list[Problem]] = {}
        for problem in sorted(self.problems if problems is None else problems,
                              key=lambda p: SEVERITIES.index(p.severity)):
            found.setdefault(problem.kind, []).append(problem)
        return found
