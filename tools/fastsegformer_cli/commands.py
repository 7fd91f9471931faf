"""The subcommands of ``fastsegformer``, each a script of tools/."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Command:
    """A subcommand.

    Args:
        script (str): Its file, relative to the folder of tools.
        summary (str): One line for ``fastsegformer --help``.
    """

    script: str
    summary: str


def tools_folder() -> Path:
    """Where the scripts are: in a checkout or, of an installed wheel, in the package.

    The configs are beside it.
    """
    folder = Path(__file__).resolve().parent.parent
    if (folder / 'predict.py').is_file():
        return folder
    return folder / 'fastsegformer_mm' / '.mim' / 'tools'


DATA, ANALYSIS = 'dataset_converters', 'analysis_tools'
GROUPS = {
    'Data': {
        'synthetic-oranges': Command(
            f'{DATA}/make_synthetic_oranges.py', 'make a set of synthetic oranges'
        ),
        'import-neu-seg': Command(
            f'{DATA}/neu_seg.py', 'bring NEU-Seg into the layout of NEUSegDataset'
        ),
        'import-color-masks': Command(
            f'{DATA}/color_masks_to_index.py', 'turn colour masks into class indices'
        ),
        'split': Command(
            f'{DATA}/split_voc.py', 'split a folder into train, val and test'
        ),
        'check-data': Command(
            f'{ANALYSIS}/check_dataset.py', "find what is wrong with a config's data"
        ),
        'browse-data': Command(
            f'{ANALYSIS}/browse_dataset.py', 'draw what the network is fed'
        ),
    },
    'Training': {
        'train': Command('train.py', 'train a config'),
        'test': Command('test.py', 'score a checkpoint on the test set'),
        'compare-distillation': Command(
            f'{ANALYSIS}/compare_distillation.py',
            'train one student by several methods, and compare',
        ),
        'gradient-table': Command(
            f'{ANALYSIS}/gradient_table.py',
            "what each of a distillation's losses does to the student",
        ),
        'export-student': Command(
            'model_converters/export_student.py',
            "take the student out of a distillation's checkpoint",
        ),
        'replay-non-finite': Command(
            f'{ANALYSIS}/replay_non_finite.py', 'find where a NaN loss began'
        ),
        'demo': Command(
            'demo/run_demo.py', 'train, distil and compare on synthetic oranges'
        ),
    },
    'Networks and checkpoints': {
        'flops': Command(f'{ANALYSIS}/get_flops.py', 'count parameters and MACs'),
        'overlay-sheet': Command(
            f'{ANALYSIS}/overlay_sheet.py', 'draw image, label and prediction'
        ),
        'convert-checkpoint': Command(
            'model_converters/fastsegformer2mmseg.py',
            "convert an official checkpoint to MMEngine's layout",
        ),
        'compare-checkpoints': Command(
            f'{ANALYSIS}/compare_checkpoints.py', 'tell whether weights are equal'
        ),
        'benchmark-distill': Command(
            f'{ANALYSIS}/benchmark_distill.py',
            "time and memory of a distillation's training step",
        ),
    },
    'Deployment': {
        'export': Command(
            'deployment/export.py', 'export to ONNX or OpenVINO, compared'
        ),
        'predict': Command('predict.py', 'segment images, folders, videos, cameras'),
        'predict-ray': Command('predict_ray.py', 'segment images on many workers'),
        'page': Command('demo/app.py', 'serve a page that segments uploads'),
        'benchmark': Command(
            f'{ANALYSIS}/benchmark.py', 'measure speed and agreement of runtimes'
        ),
    },
}
COMMANDS = {name: c for group in GROUPS.values() for name, c in group.items()}


def overview() -> str:
    """The text of ``fastsegformer --help``."""
    width = max(map(len, COMMANDS)) + 2
    lines = [
        'usage: fastsegformer COMMAND [OPTIONS]',
        '       fastsegformer COMMAND --help',
    ]
    for title, group in GROUPS.items():
        lines += ['', f'{title}:']
        lines += [f'  {name:<{width}}{c.summary}' for name, c in group.items()]
    return '\n'.join(lines)
