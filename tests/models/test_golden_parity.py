"""Our networks compute what the official ones do, by way of the converter.

``pytest -s tests/models/test_golden_parity.py`` prints the parity table.
"""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import load_checkpoint

from fastsegformer_mm.models.conversion import convert_checkpoint

GOLDEN = Path(__file__).parents[1] / 'golden'
golden = SimpleNamespace(**runpy.run_path(str(GOLDEN / 'golden.py')))
networks = SimpleNamespace(**runpy.run_path(str(GOLDEN / 'networks.py')))

TOLERANCE = 5e-4


@pytest.mark.parametrize('name', golden.NAMES)
def test_all_outputs(name, tmp_path):
    official = tmp_path / 'official.pth'
    torch.save(golden.official_state_dict(name), official)
    converted = tmp_path / 'converted.pth'
    convert_checkpoint(official, converted)
    model = networks.build(name)
    load_checkpoint(model, str(converted), map_location='cpu', strict=True)

    parameters = sum(p.numel() for p in model.parameters())
    assert parameters == golden.manifest(name)['params']

    outputs = networks.outputs(model, golden.image(name))
    compared = golden.compare(name, list(outputs.values()))
    for output, row in zip(outputs, compared):
        print(f'{name:26} {output:16} {row["error"]:.1e}')
    for output, row in zip(outputs, compared):
        assert max(row.values()) <= TOLERANCE, (output, row)


def test_all_files_are_here():
    assert len(golden.NAMES) == 8
    outputs = [len(golden.manifest(name)['outputs']) for name in golden.NAMES]
    # seven without the image branch, eight with it and for the teacher
    assert sorted(outputs) == [7, 7, 7, 8, 8, 8, 8, 8]


def test_a_difference_is_seen(tmp_path):
    """A network with one wrong statistic does not pass."""
    name = 'fastsegformer_e_ppm_noirb'
    official = golden.official_state_dict(name)
    official['common_backbone.network.3.norm.running_mean'][0] += 1
    torch.save(official, tmp_path / 'official.pth')
    convert_checkpoint(tmp_path / 'official.pth', tmp_path / 'converted.pth')
    model = networks.build(name)
    load_checkpoint(model, str(tmp_path / 'converted.pth'), strict=True)
    outputs = networks.outputs(model, golden.image(name))
    errors = [row['error'] for row in golden.compare(name, list(outputs.values()))]
    assert max(errors[:2]) <= TOLERANCE  # stages 1 and 2 are before it
    assert min(errors[2:]) > 10 * TOLERANCE
