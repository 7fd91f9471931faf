"""Both losses on the inputs of golden/recipe.py, against the official arithmetic.

The expected values were computed in float64 from the published formulas and from
the arithmetic of the official training code.
"""

import runpy
from pathlib import Path

import pytest
import torch

from fastsegformer_mm.distillation.losses import NFDLoss, PKLLoss

GOLDEN = Path(__file__).resolve().parents[2] / 'golden'
image = runpy.run_path(str(GOLDEN / 'recipe.py'))['image']

# student's shape, teacher's shape, paper, official code
PKL = {
    'same size': (
        (2, 4, 56, 56),
        (2, 4, 56, 56),
        8.051652915093639,
        1.5888965292952166,
    ),
    'smaller student': (
        (2, 4, 56, 56),
        (2, 4, 128, 128),
        5.263678524044182,
        1.2147778086295324,
    ),
    'one image': (
        (1, 4, 28, 28),
        (1, 4, 64, 64),
        5.311874341376597,
        1.184638938244128,
    ),
}
PKL_TERMS = {  # of 'paper': KL, squared difference
    'same size': (1.5868350440046908, 6.464817871088947),
    'smaller student': (1.2134862932498147, 4.050192230794368),
    'one image': (1.1793678840894248, 4.132506457287172),
}
NFD = {
    'same size': (
        (2, 8, 14, 14),
        (2, 8, 14, 14),
        0.2847100350781986,
        0.8055486285061509,
    ),
    'smaller student': (
        (2, 8, 28, 28),
        (2, 8, 64, 64),
        0.1425203455231043,
        0.3478330182569566,
    ),
    'one image': (
        (1, 8, 28, 28),
        (1, 8, 64, 64),
        0.14123719849532315,
        0.2459368087512195,
    ),
}


def normal(shape, seed, times, plus=0):
    return torch.from_numpy(image(shape, seed)).double() * times + plus


def pkl_maps(case):
    student, teacher, *_ = PKL[case]
    return normal(student, 1, 2), normal(teacher, 2, 3)


def nfd_maps(case):
    student, teacher, *_ = NFD[case]
    return normal(student, 3, 1.5, 0.3), normal(teacher, 4, 2, -1)


@pytest.mark.parametrize('mode', ['paper', 'code'])
@pytest.mark.parametrize('case', PKL)
def test_pkl(case, mode):
    value = PKLLoss(tau=2, k1=0.5, mode=mode)(*pkl_maps(case))
    expected = PKL[case][2 if mode == 'paper' else 3]
    assert value.dtype == torch.float64
    assert value.item() == pytest.approx(expected, rel=0, abs=1e-12)


@pytest.mark.parametrize('case', PKL)
def test_pkl_terms(case):
    maps = pkl_maps(case)
    kl, squares = PKL_TERMS[case]
    assert PKLLoss(k1=1)(*maps).item() == pytest.approx(2 * kl, abs=1e-12)
    assert PKLLoss(k1=0)(*maps).item() == pytest.approx(2 * squares, abs=1e-12)
    # the official code divides the second term by the number of pixels once more
    pixels = maps[0][0, 0].numel()
    value = PKLLoss(k1=0, mode='code')(*maps).item()
    assert value == pytest.approx(2 * squares / pixels, abs=1e-12)


@pytest.mark.parametrize('mode', ['paper', 'code'])
@pytest.mark.parametrize('case', NFD)
def test_nfd(case, mode):
    value = NFDLoss(mode=mode)(*nfd_maps(case))
    expected = NFD[case][2 if mode == 'paper' else 3]
    assert value.dtype == torch.float64
    # the formula has no epsilon: it makes up to 5e-8 of a difference
    tolerance = 1e-7 if mode == 'paper' else 1e-12
    assert value.item() == pytest.approx(expected, rel=0, abs=tolerance)


@pytest.mark.parametrize('case', NFD)
def test_nfd_without_epsilon(case):
    value = NFDLoss(eps=1e-14)(*nfd_maps(case)).item()
    assert value == pytest.approx(NFD[case][2], rel=0, abs=1e-12)


@pytest.mark.parametrize('case', PKL)
def test_float32_is_near(case):
    for loss, maps in ((PKLLoss(), pkl_maps(case)), (NFDLoss(), nfd_maps(case))):
        value = loss(*(m.float() for m in maps))
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(loss(*maps).item(), rel=1e-6)
