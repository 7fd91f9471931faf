"""What a prediction took: ``run.json`` and a table."""

import importlib.metadata
import os
import platform
from dataclasses import asdict

import cv2
import torch
from rich.table import Table

from fastsegformer_mm.version import __version__

from .names import as_json
from .outcome import Outcome

STAGES = (
    'reading',
    'preprocess',
    'network',
    'postprocess',
    'measuring',
    'drawing',
    'encoding',
    'writing',
)


def run_report(outcome: Outcome, card, options: dict, kept: int = 0) -> dict:
    """Everything of ``run.json``.

    Args:
        outcome (Outcome): Of the run.
        card (ModelCard): Of the model.
        options (dict): As the user gave them.
        kept (int): Records of earlier runs. Defaults to 0.
    """
    network = outcome.means().get('network')
    status = 'complete'
    if outcome.interrupted:
        status = 'interrupted'
    if outcome.error is not None:
        status = 'broke off'
    each = outcome.seconds / outcome.frames if outcome.frames else None
    # of several at a time each takes its time, and all of them together no more
    alone = network and network / outcome.streams
    return {
        'status': status,
        'error': None if outcome.error is None else str(outcome.error),
        'frames': outcome.frames,
        'records': kept + outcome.frames,
        'skipped': outcome.skipped,
        'failed': outcome.failed,
        'failures': [list(failure) for failure in outcome.failures],
        'remarks': [list(remark) for remark in outcome.remarks],
        'dropped': outcome.dropped,
        'seconds': round(outcome.seconds, 6),
        'frames_per_second': each and round(1 / each, 4),
        'milliseconds': {
            stage: round(1000 * seconds, 4)
            for stage, seconds in outcome.means().items()
        },
        'streams': outcome.streams,
        'ratio_to_network': each and alone and round(each / alone, 4),
        'waiting': outcome.waiting,
        'options': options,
        'model': asdict(card),
        'versions': {
            'fastsegformer_mm': __version__,
            'python': platform.python_version(),
            'opencv': cv2.__version__,
            'torch': torch.__version__,
            **_installed('onnxruntime', 'openvino'),
        },
        'machine': {'cpus': os.cpu_count(), 'platform': platform.platform()},
    }


def report_bytes(report: dict) -> bytes:
    """As the content of ``run.json``."""
    return as_json(report, indent=1) + b'\n'


def stage_table(report: dict) -> Table:
    """Milliseconds a frame by stage, and the rate of all together."""
    title = f'{report["frames"]} frames in {report["seconds"]:.1f} s'
    if report['streams'] > 1:
        title += f', {report["streams"]} at a time'
    table = Table(title=title, min_width=34)
    table.add_column('stage')
    table.add_column('ms a frame', justify='right')
    for stage in STAGES:
        if stage in report['milliseconds']:
            table.add_row(stage, f'{report["milliseconds"][stage]:.2f}')
    rate = report['frames_per_second']
    if rate:
        table.add_section()
        table.add_row('all, side by side', f'{1000 / rate:.2f}')
        table.add_row('frames a second', f'{rate:.1f}')
    if report['ratio_to_network']:
        table.add_row('times the network', f'{report["ratio_to_network"]:.2f}')
    return table


def _installed(*names):
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
