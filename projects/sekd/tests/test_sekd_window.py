"""The window of SEKD-SU: where it is, and that its seed is the training's."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sekd.losses import MaskedReconstructionLoss
from sekd.random_window import hide_window

ROOT = Path(__file__).resolve().parents[3]
runs = SimpleNamespace(**runpy.run_path(
    str(ROOT / 'tests/engine/exact_resume/runs.py')))
tiny = runs.tiny
set_up = tiny.set_up


def windows(hidden):
    """(top, bottom, left, right) of the zeros of each image, same in all channels."""
    found = []
    for feature in hidden:
        zeros = feature == 0
        assert all(torch.equal(zeros[0], z) for z in zeros)
        rows, columns = (zeros[0].any(d).nonzero().flatten() for d in (1, 0))
        assert zeros[0].sum() == len(rows) * len(columns)
        found.append(
            tuple(int(v) for part in (rows, columns) for v in (part[0], part[-1] + 1)))
    return found


def test_one_window_for_all_samples():
    torch.manual_seed(3)
    top, left = (int(torch.randint(n, (1,))) for n in (10 - 3 + 1, 20 - 6 + 1))
    torch.manual_seed(3)
    hidden = hide_window(torch.ones(4, 2, 10, 20), 0.3)
    assert windows(hidden) == [(top, top + 3, left, left + 6)] * 4
    torch.manual_seed(3)
    assert torch.equal(hide_window(torch.ones(4, 2, 10, 20), 0.3), hidden)
    # the next is another
    assert windows(hide_window(torch.ones(4, 2, 10, 20), 0.3)) != windows(hidden)


def test_a_window_for_each_sample():
    torch.manual_seed(3)
    tops, lefts = (torch.randint(n, (4,)).tolist() for n in (8, 15))
    torch.manual_seed(3)
    found = windows(hide_window(torch.ones(4, 2, 10, 20), 0.3, per_sample=True))
    assert found == [(t, t + 3, x, x + 6) for t, x in zip(tops, lefts)]
    assert len(set(found)) > 1


@pytest.mark.parametrize('per_sample', [False, True])
def test_all_places_inside_are_drawn(per_sample):
    torch.manual_seed(0)
    found = {w for _ in range(60) for w in windows(
        hide_window(torch.ones(2, 1, 4, 6), 0.5, per_sample))}
    assert found == {(t, t + 2, x, x + 3) for t in range(3) for x in range(4)}


@pytest.mark.parametrize(('ratio', 'shape', 'pixels'), [
    (0.3, (7, 7), 4), (0.3, (2, 16), 4), (0.01, (5, 5), 1), (1, (3, 4), 12),
    (0.3, (1, 1), 1)])
def test_size_is_whole_pixels_one_at_least(ratio, shape, pixels):
    hidden = hide_window(torch.ones(1, 1, *shape), ratio)
    assert (hidden == 0).sum() == pixels


def test_without_a_window_nothing_is_drawn():
    state = torch.get_rng_state()
    feature = torch.ones(2, 3, 4, 4)
    assert torch.equal(hide_window(feature, 0), feature)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize('per_sample', [False, True])
def test_loss_by_hand(per_sample):
    """Equal maps of twos: the loss is the window's share of the teacher's squares."""
    student = torch.full((3, 2, 10, 20), 2.0, requires_grad=True)
    loss = MaskedReconstructionLoss(per_sample=per_sample)
    torch.manual_seed(1)
    value = loss(student, student)
    assert value.item() == pytest.approx(4 * 3 * 6 / 200)
    # outside the window the student follows the teacher, inside nothing pulls
    torch.manual_seed(1)
    value = loss(student, torch.full((3, 2, 10, 20), 3.0))
    inside = 9 * 18 / 200
    assert value.item() == pytest.approx(inside + 182 / 200)
    value.backward()
    torch.manual_seed(1)
    hidden = hide_window(torch.ones(3, 2, 10, 20), 0.3, per_sample)
    assert torch.equal(student.grad == 0, hidden == 0)
    assert torch.allclose(student.grad[hidden > 0], torch.tensor(-2 / 1200))
    assert len(set(windows(hidden))) == (3 if per_sample else 1)


def test_resumed_training_goes_on_with_its_windows(tmp_path):
    """Killed and resumed by ExactResumeHook is, to the bit, never interrupted."""
    data = tiny.write_data(tmp_path / 'data', train=runs.IMAGES, val=1)

    def make(name):
        adapter = dict(type='SEKDAdapter', mid_channel=4, reduction=2)
        distiller = tiny.distiller(
            connectors=dict(
                first=dict(adapter, in_channel=4, out_channel=6),
                second=dict(adapter, in_channel=8, out_channel=12, mask_ratio=0.3)))
        distiller['distill_losses'].update(
            loss_first=dict(type='MaskedReconstructionLoss', per_sample=True),
            loss_second=dict(type='MaskedReconstructionLoss', mask_ratio=0))
        return runs.config(
            data, tmp_path / name, by_epoch=False, model=tiny.model_cfg(
                architecture=tiny.student(drop=0.3), distiller=distiller))

    straight = runs.train(make('straight'))
    assert tiny.same(runs.resumed(lambda: make('killed'), 5), straight)
