"""Names of files as they can be printed."""


def escaped(text: str) -> str:
    """A text with what cannot be printed in a line written as an escape.

    That is line breaks, control characters, and the bytes of a file name that is not
    UTF-8, which Python has as lone surrogates.

    Example:
        >>> escaped('two\\nlines.jpg'), escaped('\\udcff.jpg')
        ('two\\\\nlines.jpg', '\\\\udcff.jpg')
    """
    if text.isprintable():
        return text
    return ''.join(c if c.isprintable() else repr(c)[1:-1] for c in text)
