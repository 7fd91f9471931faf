"""Fonts that have the characters of class names.

The font that matplotlib brings along, DejaVu Sans, is on every machine and has no
Chinese, Japanese or Korean characters; fonts of the system that have them come after
it.
"""
import functools
import itertools
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from mmengine.logging import print_log
from PIL import ImageFont

FIRST = 'DejaVu Sans'
# what Linux, Windows and macOS have, by the names that matplotlib gives them
OTHERS = (
    'Noto Sans CJK SC', 'Noto Sans CJK JP', 'Noto Sans CJK TC', 'Noto Sans CJK KR',
    'Noto Sans SC', 'Source Han Sans SC', 'Source Han Sans CN', 'WenQuanYi Micro Hei',
    'WenQuanYi Zen Hei', 'Droid Sans Fallback', 'Microsoft YaHei', 'SimHei', 'SimSun',
    'Microsoft JhengHei', 'Malgun Gothic', 'Yu Gothic', 'PingFang SC', 'PingFang HK',
    'Hiragino Sans GB', 'STHeiti', 'Heiti TC', 'Arial Unicode MS')
ADVICE = ('install a font that has them, such as fonts-noto-cjk (Debian, Ubuntu) or '
          'google-noto-sans-cjk-fonts (Fedora)')


@functools.lru_cache
def installed_fonts() -> dict[str, str]:
    """File of each family that is there, the first choice first."""
    found = _files()
    if not any(name in found for name in OTHERS):
        # matplotlib keeps a list, which does not have what was installed since
        known = set(found.values())
        for path in font_manager.findSystemFonts():
            if path not in known:
                try:
                    font_manager.fontManager.addfont(path)
                except Exception:
                    continue  # a font that FreeType cannot read
        found = _files()
    return {name: found[name] for name in (FIRST, *OTHERS) if name in found}


def _files() -> dict[str, str]:
    # upright and regular ones before others of the family
    entries = sorted(font_manager.fontManager.ttflist, key=lambda entry: (
        entry.style != 'normal', entry.weight not in (400, 'normal', 'regular')))
    files: dict[str, str] = {}
    for entry in entries:
        files.setdefault(entry.name, entry.fname)
    # matplotlib's own, to draw the same on every machine
    files[FIRST] = str(Path(matplotlib.get_data_path(), 'fonts/ttf/DejaVuSans.ttf'))
    return files


@functools.lru_cache
def _face(path: str) -> FT2Font:
    return FT2Font(path)


@functools.lru_cache(maxsize=4096)
def font_of(character: str) -> str | None:
    """Family of the first font that has a character; None if none has."""
    for name, path in installed_fonts().items():
        if character.isspace() or _face(path).get_char_index(ord(character)):
            return name
    return None


def drawable_names(names: Sequence[str]) -> list[str]:
    """Class names without characters that no font has, which would become squares.

    Such names have the number of the class instead, and one line in the log says
    what to install.

    Args:
        names (Sequence[str]): By class index.

    Returns:
        list[str]: The same names where every character can be drawn.

    Example:
        >>> drawable_names(['rust', 'dent'])
        ['rust', 'dent']
    """
    drawn, missing = [], []
    for k, name in enumerate(map(str, names)):
        there = ''.join(c for c in name if font_of(c)).strip()
        if there != name.strip():
            missing.append(name)
            name = f'{there} (class {k})' if there else f'class {k}'
        drawn.append(name)
    if missing:
        _advise(tuple(missing))
    return drawn


@functools.lru_cache
def _advise(names: tuple[str, ...]) -> None:
    print_log(f'no font on this machine has all characters of {", ".join(names)}: '
              f'pictures have the number of the class instead; {ADVICE}', 'current',
              level=30)


def use_fonts(figure: Figure) -> Figure:
    """Let all texts of a figure take what their font lacks from the others."""
    families = list(installed_fonts())
    for text in figure.findobj(Text):
        text.set_fontfamily(families)
    return figure


@functools.lru_cache
def pen_font(size: int, bold: bool = False, family: str = FIRST):
    """Pillow's font of a size in pixels; of DejaVu Sans also in bold."""
    path = installed_fonts()[family]
    if bold and family == FIRST:
        path = path.replace('DejaVuSans.ttf', 'DejaVuSans-Bold.ttf')
    return ImageFont.truetype(path, size)


def runs(words: str) -> list[tuple[str, str]]:
    """Parts of a text that one font has, with the family; '?' for what none has.

    Example:
        >>> runs('rust')
        [('rust', 'DejaVu Sans')]
    """
    letters = [(c, font_of(c)) if font_of(c) else ('?', FIRST) for c in words]
    return [(''.join(c for c, _ in part), family) for family, part
            in itertools.groupby(letters, key=lambda letter: letter[1])]


def text_length(words: str, size: int, bold: bool = False) -> float:
    """Width of a line of text in pixels."""
    return sum(pen_font(size, bold, family).getlength(part)
               for part, family in runs(words))


def draw_text(pen, where: tuple[float, float], words: str, size: int, colour,
              bold: bool = False) -> None:
    """Write a line of text; ``where`` is its left upper corner."""
    x, y = where
    # all parts on one line, whatever the heights of their fonts
    base = y + pen_font(size, bold).getmetrics()[0]
    for part, family in runs(words):
        font = pen_font(size, bold, family)
        pen.text((x, base), part, fill=colour, font=font, anchor='ls')
        x += font.getlength(part)
