"""The figures of a run, its file, and those of several together."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

from fastsegformer_mm.engine.checkpoint.write import replace_file

from ..errors import DeployError
from .combination import OURS, REFERENCE, Combination
from .rounds import baseline_of
from .statistics import compare, summarise
from .subject import STAGES

FORMAT = 1


def new_run(settings, images: dict, machine: dict, versions: dict, environment: dict):
    """A run without entries.

    Args:
        settings (Settings): How is measured.
        images (dict): What the frames are: 'source', 'size' and 'frames'.
        machine (dict): From :func:`describe_machine`.
        versions (dict): From :func:`describe_versions`.
        environment (dict): From :func:`describe_environment`, of a worker.

    Returns:
        dict: As it stands in the JSON file.
    """
    return {
        'run': uuid.uuid4().hex,
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'complete': False,
        'machine': machine,
        'versions': versions,
        'environment': environment,
        'settings': asdict(settings),
        'images': images,
        'models': {},
        'entries': [],
    }


def derive(run: dict, miou: dict[str, float] | None = None) -> dict:
    """Add to a run what follows from its rounds. Ratios are of its own entries.

    Each entry that was measured gets

    * ``stages``: {stage: p50, p95, minimum, runs, frames_per_second};
    * ``times_eager``: how many times as fast its network is as eager float32 of the
      same network, in the same rounds;
    * ``times_reference``: the same of the pipeline, against the reference loop;
    * ``pipeline_over_network``: seconds of the pipeline by those of the network.

    Args:
        run (dict): Changed in place.
        miou (dict[str, float], optional): Percent, measured elsewhere, by a network's
            name, for its entries in float32, or by an entry's label. Those evaluated
            in the run keep their own; a name that the run has not is passed over.

    Returns:
        dict: ``run``.
    """
    entries = run['entries']
    for model in run['models'].values():
        model['ours'] = OURS in model['stem']
    for entry in entries:
        if not entry['rounds']:
            continue
        entry['stages'] = {}
        for stage in STAGES:
            summary = summarise([s for one in entry['rounds'] for s in one[stage]])
            entry['stages'][stage] = {
                **asdict(summary),
                'frames_per_second': summary.frames_per_second,
            }
        loop = next(
            (
                e
                for e in entries
                if e['backend'] == REFERENCE and e['model'] == entry['model']
            ),
            None,
        )
        entry['times_eager'] = _ratio(baseline_of(entry, entries), entry, 'network')
        entry['times_reference'] = _ratio(loop, entry, 'pipeline')
        own = compare(*(_by_round(entry, stage) for stage in ('pipeline', 'network')))
        entry['pipeline_over_network'] = own and asdict(own)
    for name, value in (miou or {}).items():
        _give_miou(run, name, value)
    return run


def check_names(miou: dict[str, float], combinations: Sequence[Combination]) -> None:
    """Raise a DeployError where ``miou`` names neither a network nor a combination."""
    networks = dict.fromkeys(c.model.name for c in combinations)
    for name in miou:
        if name not in networks and all(c.label != name for c in combinations):
            raise DeployError(
                f'--miou {name}: expected a network, {", ".join(networks)}, or a '
                f'combination, such as "{combinations[-1].label}"'
            )


def _by_round(entry, stage):
    return [one[stage] for one in entry['rounds']]


def _ratio(slow, fast, stage):
    """Only of those that took turns, and of the same weights' network."""
    if slow is None or slow['group'] != fast['group']:
        return None
    ratio = compare(_by_round(slow, stage), _by_round(fast, stage))
    return ratio and asdict(ratio)


def _give_miou(run, name, value):
    chosen = [
        e
        for e in run['entries']
        if e['label'] == name or (e['model'] == name and e['precision'] == 'fp32')
    ]
    for entry in chosen:
        if run['models'].get(entry['model'], {}).get('random_weights'):
            entry['no_miou'] = 'random weights'
        elif entry.get('miou') is None:
            entry['miou'], entry['miou_given'] = value, True


def read_miou(specs: Sequence[str]) -> dict[str, float]:
    """NAME=PERCENT, or NAME=FILE of the metrics that ``tools/test.py`` wrote.

    Raises:
        DeployError: One is neither, or no percentage.

    Example:
        >>> read_miou(['bisenetv2=71.25'])
        {'bisenetv2': 71.25}
    """
    out = {}
    for spec in specs:
        name, _, text = spec.rpartition('=')
        try:
            if Path(text).is_file():
                # a file of records, one a line, holds the last test's at its end
                lines = Path(text).read_text(encoding='utf-8').strip()
                try:
                    content = json.loads(lines)
                except ValueError:
                    content = json.loads(lines.splitlines()[-1])
                value = float(content['mIoU'])
            else:
                value = float(text)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise DeployError(
                f'--miou {spec}: expected NAME=PERCENT or NAME=FILE.json, a file with '
                f"'mIoU' as tools/test.py writes it ({type(error).__name__}: {error})"
            ) from error
        if not name or not 0 <= value <= 100:
            raise DeployError(f'--miou {spec}: expected NAME=PERCENT, 0 to 100')
        out[name] = value
    return out


def write_runs(path, runs: Sequence[dict]) -> Path:
    """Write a file of runs, as a whole or not at all."""
    content = json.dumps({'format': FORMAT, 'runs': list(runs)}, indent=1)
    return replace_file(path, [content.encode()])


def read_runs(paths: Sequence) -> list[dict]:
    """The runs of several files, each once.

    Raises:
        DeployError: A file is none of a benchmark, or of another format.
    """
    runs = {}
    for path in paths:
        try:
            content = json.loads(Path(path).read_text(encoding='utf-8'))
            if content['format'] != FORMAT:
                raise ValueError(f'format {content["format"]}')
            runs.update({run['run']: run for run in content['runs']})
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise DeployError(
                f'{path}: expected benchmark.json that this tool wrote, format '
                f'{FORMAT} ({type(error).__name__}: {error})'
            ) from error
    return list(runs.values())


def by_machine(runs: Sequence[dict]) -> list[list[dict]]:
    """Runs of one machine side by side, machines in the order of the first run."""
    machines: list[list[dict]] = []
    for run in runs:
        for group in machines:
            if group[0]['machine'] == run['machine']:
                group.append(run)
                break
        else:
            machines.append([run])
    return machines
