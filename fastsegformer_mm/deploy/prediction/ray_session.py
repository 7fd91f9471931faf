"""Ray for the time of a prediction: one of its own, or a cluster's."""

import contextlib
import functools
import logging
import math
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading

from ..errors import DeployError

# paths and records go through it, pictures do not
OBJECT_STORE = 200 << 20
# Ray adds 65 characters for its sockets, whose paths may have 107
LONGEST_FOLDER = 40


@contextlib.contextmanager
def ray_session(address: str | None = None, cpus: float = 1.0):
    """Connect to a cluster, or start Ray here; end it however the block is left.

    Started here it has no dashboard and reports nothing to anyone, its files lie in a
    folder of its own, which is removed, and a token keeps others of the machine out. A
    program that has Ray running already keeps it, and what follows uses it.

    Args:
        address (str, optional): HOST:PORT of a cluster, or 'auto' for the one that
            this machine belongs to. Defaults to None: start Ray here.
        cpus (float): That Ray may give to workers where it is started here. Defaults
            to 1.

    Yields:
        module: ``ray``.

    Raises:
        DeployError: The extra is missing, or there is no such cluster.
    """
    local = address is None
    with contextlib.ExitStack() as after:
        # read when Ray is imported
        after.enter_context(_environment(local))
        ray = import_ray()
        after.enter_context(_quiet())
        if not ray.is_initialized():
            options = dict(address=address)
            if local:
                folder = _short_folder()
                after.callback(shutil.rmtree, folder, ignore_errors=True)
                options = dict(
                    address='local',
                    num_cpus=math.ceil(cpus),
                    include_dashboard=False,
                    object_store_memory=OBJECT_STORE,
                    _temp_dir=folder,
                )
            # also where the start fails half-way
            after.callback(ray.shutdown)
            # Ray would take the signal
            with _handler_kept(signal.SIGTERM):
                _start(ray, options)
        yield ray


def check_room(ray, workers: int | None, cpus: float, gpus: float = 0.0) -> int:
    """How many workers there are to be, for which there must be room.

    Args:
        ray (module): Within :func:`ray_session`.
        workers (int, optional): As wanted. Defaults to None, as many as fit.
        cpus (float): Of each.
        gpus (float): Of each; parts of one are possible. Defaults to 0.

    Raises:
        DeployError: The machines have not as many CPUs or GPUs: Ray would wait for
            them for ever.
    """
    room, has = 0, []
    for node in ray.nodes():
        if node['Alive']:
            found = node['Resources']
            fit = int(found.get('CPU', 0) // cpus)
            if gpus:
                # 1 // 0.1 is 9
                fit = min(fit, int(found.get('GPU', 0) / gpus + 1e-6))
            room += fit
            has.append(f'{found.get("CPU", 0):g} CPUs, {found.get("GPU", 0):g} GPUs')
    if room < (workers or 1):
        raise DeployError(
            f'{workers or 1} workers of {cpus:g} CPUs and {gpus:g} GPUs do not fit: '
            f'there is room for {room} ({"; ".join(has)}). Give fewer by --workers, or '
            'less to each by --cpus-per-worker and --gpus-per-worker'
        )
    return workers or room


def import_ray():
    """Ray and Ray Data.

    Returns:
        module: ``ray``.

    Raises:
        DeployError: The extra is missing.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise DeployError(
            f'Ray Data cannot be imported ({error}); it comes with '
            'pip install "fastsegformer-mm[ray]"'
        ) from error
    return ray


def _start(ray, options):
    address = options['address']
    if address.startswith('ray://'):
        raise DeployError(
            f'--address {address}: Ray Data does not run over a client; expected '
            'HOST:PORT or auto, on a machine of the cluster (ray job submit)'
        )
    try:
        host, _, port = address.rpartition(':')
        if host:
            # Ray would try for many minutes
            socket.create_connection((host, int(port)), 10).close()
        ray.init(log_to_driver=False, configure_logging=False, **options)
    except Exception as error:  # where it times out, Ray raises no other
        reason = ' '.join(str(error).split())
        if address == 'local':
            raise DeployError(f'Ray could not be started here: {reason}') from error
        raise DeployError(
            f'--address {address}: no connection to a Ray cluster ({reason}); expected '
            "HOST:PORT of its head, or auto on one of its machines; 'ray status' tells"
        ) from error


@contextlib.contextmanager
def _environment(local):
    # its warnings of what it repairs by itself go past Python's logging
    values = {'RAY_USAGE_STATS_ENABLED': '0', 'RAY_BACKEND_LOG_LEVEL': 'fatal'}
    if local and 'RAY_AUTH_TOKEN_PATH' not in os.environ:
        # without one Ray writes it into the home folder
        values['RAY_AUTH_TOKEN'] = os.environ.get('RAY_AUTH_TOKEN') or _token()
    # Ray adds some
    before = {k: v for k, v in os.environ.items() if k.startswith('RAY_')}
    os.environ.update(values)
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith('RAY_')]:
            del os.environ[name]
        os.environ.update(before)


@functools.cache
def _token():
    # Ray keeps the first one for the whole process
    return secrets.token_hex(32)


class _FirstSentences:
    """A stream on which Ray's messages take one line each, not ten."""

    def __init__(self, stream):
        self._stream = stream

    def write(self, text):
        _, raylet, message = text.partition('(raylet)')
        if raylet:
            # after the code that ends a colour
            message = message.rpartition('\033[0m ')[2] or message
            text = f'Ray: {message.strip().partition(". ")[0]}'
        return self._stream.write(text)

    def __getattr__(self, name):
        return getattr(self._stream, name)


@contextlib.contextmanager
def _quiet():
    """Of Ray's messages only those of dead workers, beside the tool's own output."""
    loggers = [logging.getLogger(name) for name in ('ray', 'ray.data')]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(_FirstSentences(sys.stderr)):
            yield
    finally:
        for logger, level in zip(loggers, before):
            logger.setLevel(level)


@contextlib.contextmanager
def _handler_kept(number):
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(number)
    try:
        yield
    finally:
        signal.signal(number, before)


def _short_folder():
    base = tempfile.gettempdir()
    # mkdtemp adds 12 characters
    if os.name == 'posix' and len(base) + 12 > LONGEST_FOLDER:
        base = '/tmp'
    return tempfile.mkdtemp(prefix='fsf', dir=base)
