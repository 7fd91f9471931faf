"""Known messages of the stack that nobody can act on, kept off the console.

Command lines call :func:`quiet`; importing the package changes nothing. In a training
or test the messages are in the log file of the run all the same. Everything else is
shown: other messages of the stack, our own, and all errors.
"""

import logging
import sys
import warnings

# Beginnings of messages, by how they are given; where each comes from.
PRINTED = (
    # a client of a service that nothing here uses: __init__ of mmseg.datasets,
    # mmseg.datasets.transforms and mmpretrain.datasets of OneDL
    'Could not import OneDL',
)
WARNED = (
    # mmcv/cnn/bricks/transformer.py, of an MMCV without compiled ops: no network here
    # has such a layer
    'Fail to import ``MultiScaleDeformableAttention``',
    # mmseg/models/losses/cross_entropy_loss.py, at each loss that keeps the default
    'Default ``avg_non_ignore`` is False',
    # mmseg/models/utils/wrappers.py, of sizes that the networks of the paper have
    'When align_corners=True, the output would more aligned if',
    # mmcv/cnn/bricks/conv_module.py, of MMSegmentation's own networks
    'Unnecessary conv bias before batch/instance norm',
    # mmseg/engine/hooks/visualization_hook.py, of its own default
    'The draw is False, it means that the hook for visualization',
)
LOGGED = (
    # mmengine/evaluator/metric.py, where there is one metric
    'The prefix is not set in metric class',
    # mmengine/fileio/file_client.py and backends, of MMEngine's own calls
    '"FileClient" will be deprecated in future',
    '"HardDiskBackend" is the alias of "LocalBackend"',
)

_installed = False
_log_files = []  # handlers of the run's log files
_waiting = []  # warnings from before there were any


def quiet() -> None:
    """Keep them off from now on; called before the stack is imported."""
    global _installed
    if _installed:
        return
    _installed = True
    _quiet_warnings()
    try:
        import mmengine.logging as mmengine_logging
    except ImportError:
        return  # the package says which part of the stack is missing
    _quiet_prints(mmengine_logging)
    _quiet_loggers(mmengine_logging.MMLogger)


def _quiet_warnings():
    show = warnings.showwarning

    def showwarning(message, category, filename, lineno, file=None, line=None):
        if file is not None or not str(message).startswith(WARNED):
            show(message, category, filename, lineno, file, line)
            return
        text = f'{filename}:{lineno}: {category.__name__}: {message}'
        _waiting.append(
            logging.LogRecord(
                'warnings', logging.WARNING, filename, lineno, text, None, None
            )
        )
        _write_waiting()

    warnings.showwarning = showwarning


def _write_waiting():
    if _log_files:
        for record in _waiting:
            for handler in _log_files:
                handler.handle(record)
        _waiting.clear()


def _quiet_prints(module):
    original = module.print_log

    def print_log(msg, logger=None, *args, **kwargs):
        if logger is not None or not str(msg).startswith(PRINTED):
            original(msg, logger, *args, **kwargs)

    module.print_log = print_log


def _quiet_loggers(logger_class):
    """MMEngine's loggers write to the console and to files; the files get all."""
    original = logger_class.__init__

    def __init__(self, *args, **kwargs):
        original(self, *args, **kwargs)
        for handler in self.handlers:
            if isinstance(handler, logging.FileHandler):
                _log_files.append(handler)
            else:
                handler.addFilter(lambda r: not r.getMessage().startswith(LOGGED))
        _write_waiting()

    logger_class.__init__ = __init__


if any('multiprocessing' in word for word in sys.orig_argv[1:4]):
    # a worker process that a tool has spawned, which imports all anew
    quiet()
