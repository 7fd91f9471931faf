"""Which class of a data set is its background."""
import unicodedata
from collections.abc import Mapping, Sequence

# as they are without blanks, underscores and capitals
KNOWN = ('background', 'bg', 'bkg', '背景')
AUTO = 'auto'


def background_class(classes: Sequence[str],
                     background: str | int | None = AUTO) -> int | None:
    """Index of the class that is no object and no defect.

    Args:
        classes (Sequence[str]): Class names, by index.
        background (str | int | None): Index or name of the class; None for a set
            without background. Defaults to 'auto': the first that is called
            "background", "bg", "bkg" or "背景", in whatever case and with whatever
            blanks, underscores or hyphens.

    Returns:
        int | None: None where there is none.

    Raises:
        ValueError: If ``background`` is no class.

    Example:
        >>> background_class(['road', '_Background_'])
        1
        >>> background_class(['sound', 'rust'], 'sound')
        0
        >>> background_class(['sound', 'rust']) is None
        True
    """
    names = [str(name) for name in classes]
    if background is None:
        return None
    if isinstance(background, str):
        if background in names:
            return names.index(background)
        if background == AUTO:
            plain = [_plain(name) for name in names]
            return next((k for k, name in enumerate(plain) if name in KNOWN), None)
    elif not isinstance(background, bool) and 0 <= background < len(names):
        return int(background)
    raise ValueError(f'background={background!r}, expected one of the classes, '
                     f'{", ".join(names)}, or None for a set without background')


def background_of(meta: Mapping) -> int | None:
    """The background of a data set's or checkpoint's metainfo.

    Args:
        meta (Mapping): With ``classes`` and, unless a known name tells it,
            ``background``: a class's index or name (MMEngine takes a text for a file
            first, and says that it is none), or None for a set without one.

    Returns:
        int | None: Index of the class.

    Raises:
        ValueError: If ``background`` is no class.

    Example:
        >>> background_of({'classes': ('ok', 'rust'), 'background': 'ok'})
        0
    """
    return background_class(meta['classes'], meta.get('background', AUTO))


def no_background(classes: Sequence[str]) -> str:
    """What to say, in one line, where no class is known as the background."""
    return (f'none of the classes {listed(classes)} is known as the background: every '
            'class is drawn, counted and graded; give its position by '
            f'metainfo=dict(background=K) of the data sets, {classes[0]} is 0, or '
            'background=None if there is none')


def listed(classes: Sequence[str]) -> str:
    """The first names.

    Example:
        >>> listed('abcdefgh')
        'a, b, c, d, e, f, ...'
    """
    return ', '.join([*map(str, classes[:6]), *(['...'] if len(classes) > 6 else [])])


def _plain(name: str) -> str:
    folded = unicodedata.normalize('NFKC', name).casefold()
    return ''.join(c for c in folded if c.isalnum())
