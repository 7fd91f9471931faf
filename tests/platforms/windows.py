"""This platform as our code would see Windows: without POSIX's modules and names.

The stack and Python's own modules keep what they have. Only imports in files of this
checkout get the modules below, in which names are absent and platforms renamed.
"""

import builtins
import importlib
import multiprocessing
import os
import subprocess
import warnings
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
MODULES = 'fcntl grp nis posix pty pwd readline resource spwd syslog termios tty'
# what the documentation of the module os has for Unix alone
NOT_OF_OS = """
chown chroot confstr fchmod fchown fdatasync fork forkpty fstatvfs getegid geteuid
getgid getgroups getloadavg getpgid getpgrp getpriority getsid getuid initgroups killpg
lchown mkfifo mknod nice openpty pathconf pipe2 posix_fadvise posix_fallocate
posix_spawn pread preadv pwrite pwritev register_at_fork sched_getaffinity
sched_setaffinity sched_yield sendfile setegid seteuid setgid setpgid setpriority setsid
setuid statvfs sync sysconf tcgetpgrp ttyname uname wait wait3 wait4 waitid WIFEXITED
WIFSIGNALED WTERMSIG WEXITSTATUS O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK O_SYNC
"""
# all that its module signal has
OF_SIGNAL = """
SIGABRT SIGFPE SIGILL SIGINT SIGSEGV SIGTERM SIG_DFL SIG_IGN Signals Handlers signal
getsignal default_int_handler raise_signal set_wakeup_fd strsignal valid_signals
"""
ABSENT, NOT_OF_OS, OF_SIGNAL = (
    frozenset(names.split()) for names in (MODULES, NOT_OF_OS, OF_SIGNAL)
)


class Popen(subprocess.Popen):
    """Refuses what Windows cannot."""

    def __init__(self, *args, pass_fds=(), preexec_fn=None, **kwargs):
        assert not pass_fds, 'pass_fds is not supported on Windows'
        assert preexec_fn is None, 'preexec_fn is not supported on Windows'
        super().__init__(*args, **kwargs)


def get_context(method=None):
    """Processes are spawned."""
    assert method in (None, 'spawn'), f'{method} is not supported on Windows'
    return multiprocessing.get_context('spawn')


class Seen(ModuleType):
    """A module without some names, and with others in place of its own."""

    def __init__(self, real, hidden=lambda name: False, **replaced):
        super().__init__(real.__name__)
        vars(self).update(_real=real, _hidden=hidden, _replaced=replaced)

    def __getattr__(self, name):
        if self._hidden(name):
            raise AttributeError(f'module {self.__name__!r} has no attribute {name!r}')
        if name in self._replaced:
            return self._replaced[name]
        return getattr(self._real, name)

    def __setattr__(self, name, value):
        setattr(self._real, name, value)


def _modules():
    modules = {
        name: importlib.import_module(name)
        for name in ('os', 'signal', 'platform', 'sys', 'socket', 'select', 'time')
    }
    return {
        'os': Seen(modules['os'], NOT_OF_OS.__contains__, name='nt'),
        'signal': Seen(
            modules['signal'], lambda n: n not in OF_SIGNAL and not n.startswith('__')
        ),
        'platform': Seen(modules['platform'], system=lambda: 'Windows'),
        'sys': Seen(modules['sys'], platform='win32'),
        'socket': Seen(modules['socket'], {'AF_UNIX'}.__contains__),
        'select': Seen(modules['select'], {'poll', 'epoll', 'kqueue'}.__contains__),
        'time': Seen(modules['time'], {'tzset'}.__contains__),
        'subprocess': Seen(subprocess, Popen=Popen),
        'multiprocessing': Seen(multiprocessing, get_context=get_context),
    }


def is_ours(scope) -> bool:
    """Whether a module's globals are those of a file of this checkout, no test."""
    file = scope and scope.get('__file__')
    if not file:
        return False
    path = Path(os.path.abspath(file))
    if ROOT not in path.parents or '.venv' in str(path):
        return False
    return 'tests' not in path.relative_to(ROOT).parts


def install() -> None:
    """Let our files see Windows from now on; text without an encoding is an error.

    There its encoding is that of the system's language.
    """
    real_import, modules = builtins.__import__, _modules()

    def seen(name, globals=None, locals=None, fromlist=(), level=0):
        if level == 0 and is_ours(globals):
            if name in ABSENT:
                raise ModuleNotFoundError(f'No module named {name!r}', name=name)
            if fromlist or '.' not in name:
                real_import(name, globals, locals, fromlist, level)
                if name in modules:
                    return modules[name]
            elif name.partition('.')[0] in modules:
                real_import(name, globals, locals, fromlist, level)
                return modules[name.partition('.')[0]]
        return real_import(name, globals, locals, fromlist, level)

    builtins.__import__ = seen
    multiprocessing.set_start_method('spawn')
    show = warnings.showwarning

    def fail(message, category, filename, lineno, *args, **kwargs):
        if category is EncodingWarning and is_ours({'__file__': filename}):
            raise AssertionError(f'{filename}:{lineno}: {message}')
        if category is not EncodingWarning:
            show(message, category, filename, lineno, *args, **kwargs)

    warnings.showwarning = fail
    warnings.simplefilter('always', EncodingWarning)
