"""Import every module and run every tool as on Windows, in one process.

    python -X warn_default_encoding run_as_windows.py FOLDER

writes into FOLDER, and ends with the error of the first that fails.
"""

import importlib
import os
import pkgutil
import runpy
import shutil
import subprocess
import sys
import time
from pathlib import Path

import windows

ROOT, TESTS = windows.ROOT, windows.ROOT / 'tests'
PROJECTS = [path.parent.name for path in ROOT.glob('projects/*/*/__init__.py')]
TOOLS = sorted(
    path.relative_to(ROOT / 'tools').as_posix()
    for path in ROOT.glob('tools/**/*.py')
    if "__name__ == '__main__'" in path.read_text(encoding='utf-8')
)


def import_everything() -> int:
    """Number of modules."""
    count = 0
    for package in ('fastsegformer_mm', 'fastsegformer_cli', *PROJECTS):
        found = importlib.import_module(package)
        for module in pkgutil.walk_packages(found.__path__, f'{package}.'):
            if not module.name.endswith('.__main__'):
                importlib.import_module(module.name)
            count += 1
    return count


def run(tool, *words) -> int:
    """The exit code of a tool."""
    path = ROOT / 'tools' / tool
    sys.argv = [str(path), *map(str, words)]
    print('$', tool, *words, flush=True)
    try:
        runpy.run_path(str(path), run_name='__main__')
    except SystemExit as end:
        return end.code or 0
    return 0


def prepare_data(folder):
    """Sets of synthetic oranges, of colour masks and of NEU-Seg's layout."""
    converters = 'dataset_converters'
    oranges, masks = folder / 'oranges', folder / 'masks'
    words = ['--num', 10, '--size', 64, '--workers', 1]
    assert run(f'{converters}/make_synthetic_oranges.py', oranges, *words) == 0
    assert run(f'{converters}/split_voc.py', oranges, '--force') == 0
    masks.mkdir()
    shutil.copy(next(oranges.glob('SegmentationClass/*.png')), masks)
    words = ['--palette-from', 'NavelOrangeDataset', '--trust', 'indices']
    words = [masks, folder / 'index', *words]
    assert run(f'{converters}/color_masks_to_index.py', *words) == 0
    for kind, files in (('images', 'JPEGImages'), ('annotations', 'SegmentationClass')):
        found = sorted(oranges.glob(f'{files}/*'))
        for split, some in (('training', found[:6]), ('test', found[6:])):
            (folder / 'raw' / kind / split).mkdir(parents=True)
            for file in some:
                shutil.copy(file, folder / 'raw' / kind / split)
    assert run(f'{converters}/neu_seg.py', folder / 'raw', folder / 'neu') == 0


def deploy(folder):
    """A tiny network to ONNX, and what runs it."""
    case = runpy.run_path(str(TESTS / 'deploy/export_case.py'))
    config, weights = case['write_case'](folder)
    images, _ = case['write_frames'](folder)
    artefact = folder / 'a.onnx'
    words = ['--threads', 1, '--images', images, '--num', 1]
    assert run('deployment/export.py', config, weights, '--out', artefact, *words) == 0
    words = ['--threads', 1, '--streams', 1]
    out = folder / 'predicted'
    assert run('predict.py', artefact, images, '--out', out, *words) == 0
    assert (out / 'defects.jsonl').read_bytes().count(b'\n') == 3
    words = ['--trial', '--warmups', 1, '--runs', 1, '--rounds', 1, '--threads', 1]
    words += ['--frames', 1, '--backends', 'torch', '--out', folder / 'benchmark']
    assert run('analysis_tools/benchmark.py', config, *words) == 0
    assert run('analysis_tools/get_flops.py', config) == 0
    assert run('analysis_tools/compare_checkpoints.py', weights, weights) == 0


def check(folder):
    """Tools that look at data."""
    tiny = runpy.run_path(str(TESTS / 'datasets/checks/tiny_set.py'))
    tiny['make'](folder / 'set')
    config = folder / 'set.py'
    tiny['config'](folder / 'set').dump(config)
    report = folder / 'report.html'
    tool = 'analysis_tools/check_dataset.py'
    assert run(tool, config, '--fix-report', report) == 0
    assert report.is_file()
    sheet = folder / 'sheet.jpg'
    assert run('analysis_tools/browse_dataset.py', config, '--out', sheet) == 0


def provide_taskkill(folder):
    """A stand-in for the command by which processes are ended."""
    command = folder / 'bin/taskkill'
    command.parent.mkdir()
    command.write_text('#!/bin/sh\n[ "$*" = "/F /T /PID $4" ] && kill -9 "$4"\n')
    command.chmod(0o755)
    os.environ['PATH'] = f'{command.parent}{os.pathsep}{os.environ["PATH"]}'


def end_a_process(folder):
    """By taskkill."""
    from fastsegformer_cli import processes

    process = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)
    processes.end(process)
    assert process.returncode == -9


def helps(folder):
    """Every tool says what it is."""
    for tool in TOOLS:
        assert run(tool, '--help') == 0


if __name__ == '__main__':
    folder = Path(sys.argv[1])
    windows.install()
    provide_taskkill(folder)
    print(import_everything(), 'modules')
    for job in (helps, prepare_data, check, deploy, end_a_process):
        start = time.perf_counter()
        job(folder)
        print(f'{job.__name__}: {time.perf_counter() - start:.0f} s', flush=True)
    print('all as on Windows')
