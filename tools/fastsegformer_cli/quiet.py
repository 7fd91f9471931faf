"""Known messages of the stack that nobody can act on are kept off the console."""

# {what is printed: where}. MMSegmentation's and MMPretrain's __init__ of OneDL say it
# of a client of a service that nothing here uses, three times an import.
PRINTED = {
    'Could not import OneDL': 'onedl-mmsegmentation 1.4, onedl-mmpretrain 1.3: '
    'mmseg/datasets/__init__.py, mmseg/datasets/transforms/__init__.py, '
    'mmpretrain/datasets/__init__.py',
}


def quiet() -> None:
    """Keep them off from now on; for command lines, before the stack is imported."""
    try:
        import mmengine.logging as mmengine_logging
    except ImportError:
        return  # the package says which part of the stack is missing

    original = mmengine_logging.print_log
    if getattr(original, 'quiet', False):
        return

    def print_log(msg, logger=None, *args, **kwargs):
        if logger is not None or msg not in PRINTED:
            original(msg, logger, *args, **kwargs)

    print_log.quiet = True
    mmengine_logging.print_log = print_log
