"""Names of files as they can be printed."""

import unicodedata

# control characters, lone surrogates and breaks, at which a line would end
BREAKING = ('Cc', 'Cs', 'Zl', 'Zp')


def escaped(text: str) -> str:
    """A text as one line of valid Unicode, the rest of it as escapes.

    That is line breaks, control characters, and the bytes of a file name that is not
    UTF-8, which Python has as lone surrogates.

    Example:
        >>> escaped('two\\nlines.jpg'), escaped('\\udcff.jpg')
        ('two\\\\nlines.jpg', '\\\\xff.jpg')
    """
    if text.isprintable():
        return text
    return ''.join(
        _escape(c) if unicodedata.category(c) in BREAKING else c for c in text
    )


def _escape(character):
    byte = ord(character) - 0xDC00
    # as os.fsdecode marks one
    return f'\\x{byte:02x}' if 0x80 <= byte < 0x100 else repr(character)[1:-1]
