"""Known messages of the stack stay off the console and come into the log file."""

import subprocess
import sys

from fastsegformer_cli import quiet

PROGRAM = """
import sys, warnings
from fastsegformer_cli.quiet import LOGGED, PRINTED, WARNED, quiet

quiet()
import mmengine.logging
for text in PRINTED + ('printed by others',):
    mmengine.logging.print_log(text)
for text in WARNED + ('warned by others',):
    warnings.warn(text + ' and more')
logger = mmengine.logging.MMLogger('run', log_file=sys.argv[1])
for text in LOGGED + ('logged by others',):
    logger.warning(text + ' and more')
warnings.warn(WARNED[0] + ' later')
"""


WORKER = """
from fastsegformer_cli.quiet import quiet

def work():
    import mmengine.logging
    mmengine.logging.print_log('Could not import OneDL')
    mmengine.logging.print_log('done')

if __name__ == '__main__':
    import multiprocessing
    process = multiprocessing.get_context('spawn').Process(target=work)
    process.start()
    process.join()
"""


def test_worker_processes_are_quiet_too(tmp_path):
    script = tmp_path / 'worker.py'
    script.write_text(WORKER)
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=True
    )
    assert done.stdout == 'done\n'


def test_console_and_log_file(tmp_path):
    log = tmp_path / 'run.log'
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM, str(log)],
        capture_output=True,
        text=True,
        check=True,
    )
    shown = done.stdout.splitlines()
    assert shown[0] == 'printed by others'
    assert shown[1].endswith('logged by others and more')
    assert len(shown) == 2
    assert 'UserWarning: warned by others and more' in done.stderr
    written = log.read_text()
    for text in quiet.WARNED:
        assert text not in done.stderr
        assert f'UserWarning: {text} and more' in written
    for text in quiet.LOGGED:
        assert f'{text} and more' in written
    assert f'{quiet.WARNED[0]} later' in written
