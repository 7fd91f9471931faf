"""The networks compute what the official ones do, by way of the converter.

``pytest -s projects/mff_metal/tests/test_mff_metal_parity.py`` prints the errors.
"""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import load_checkpoint

from fastsegformer_mm.models.conversion import convert_checkpoint
from mff_metal.conversion import recognise

HERE = Path(__file__).parent
networks = SimpleNamespace(**runpy.run_path(str(HERE / 'official_networks.py')))
golden, FOLDER = networks.golden, networks.FOLDER

TOLERANCE = 5e-4


@pytest.mark.parametrize(
    ('name', 'parameters'), [('mff_metal', 981_580), ('lmffnet', 1_342_087)]
)
def test_logits(name, parameters, tmp_path):
    src, dst = tmp_path / 'official.pth', tmp_path / 'converted.pth'
    torch.save(networks.official(name), src)
    convert_checkpoint(src, dst, recognise=recognise)
    model = networks.build(name)
    load_checkpoint(model, str(dst), map_location='cpu', strict=True)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert golden.manifest(name, FOLDER)['params'] == parameters

    image = golden.image(name, FOLDER)
    assert image.dtype == torch.float32
    logits = model.encode_decode(image, [dict(img_shape=(200, 200))]).detach()
    (row,) = golden.compare(name, [logits], FOLDER)
    print(f'{name:10} logits {row["error"]:.1e}')
    assert max(row.values()) <= TOLERANCE, row

    # one statistic in 4,000 that is wrong is seen
    with torch.no_grad():
        model.backbone.stages[1].blocks[0].norm_act.norm.running_mean[0] += 1
        logits = model.encode_decode(image, [dict(img_shape=(200, 200))])
    (row,) = golden.compare(name, [logits], FOLDER)
    assert row['error'] > 2 * TOLERANCE


def test_the_copy_is_whole():
    names = sorted(path.stem for path in FOLDER.glob('*.json'))
    assert names == ['lmffnet', 'mff_metal']
    for name in names:
        (output,) = golden.manifest(name, FOLDER)['outputs']
        assert output['shape'] == [1, 4, 200, 200]
        assert output['stored_rows_step'] == 9
