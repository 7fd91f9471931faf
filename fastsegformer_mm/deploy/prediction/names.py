"""Names of files in records, whatever bytes they are made of."""

import json
import os
import re

from fastsegformer_mm.utils.names import escaped

from .input_error import InputError

SURROGATE = re.compile('[\ud800-\udfff]')


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
    return SURROGATE.sub(lambda m: '\\' + escaped(m[0]), text).encode()


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

