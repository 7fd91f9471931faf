"""Names of files in records and messages, whatever bytes they are made of."""

import json
import os
import re
import unicodedata

from .input_error import InputError

SURROGATE = re.compile('[\ud800-\udfff]')
# lines of a terminal or a table would break at them
BREAKING = ('Cc', 'Cs', 'Zl', 'Zp')


def readable(text) -> str:
    r"""A name as one line of valid text.

    Bytes that are not UTF-8 become ``\xNN``, and so do control characters.

    Args:
        text (str | Path): The name, as Python has it of the file system.

    Example:
        >>> print(readable('a\udcb3\n橙.jpg'))
        a\xb3\x0a橙.jpg
    """
    return ''.join(
        _escaped(c) if unicodedata.category(c) in BREAKING else c for c in str(text)
    )


def as_json(value, **options) -> bytes:
    r"""A value as JSON in valid UTF-8; of names, bytes that are not become ``\xNN``.

    Args:
        value: Anything that JSON knows.
        **options: Of :func:`json.dumps`.

    Example:
        >>> json.loads(as_json({'source': 'a\udcb3.jpg'}))['source']
        'a\\xb3.jpg'
    """
    text = json.dumps(value, ensure_ascii=False, **options)
    return SURROGATE.sub(lambda m: '\\' + _escaped(m[0]), text).encode()


def check_name(origin: str) -> None:
    """Raise where records cannot name a file.

    Args:
        origin (str): Its name in the records.

    Raises:
        InputError: It is not valid Unicode.
    """
    if SURROGATE.search(origin):
        way_out = 'rename it'
        if os.name == 'posix':
            way_out += ', where it is GBK by convmv -r -f gbk -t utf-8 --notest FOLDER'
        raise InputError(
            origin,
            f'its name is not valid UTF-8, so that no record can hold it; {way_out}',
        )


def _escaped(character):
    code = ord(character)
    if 0xDC80 <= code < 0xDD00:  # a byte, as os.fsdecode marks it
        code -= 0xDC00
    return f'\\x{code:02x}' if code < 0x100 else f'\\u{code:04x}'
