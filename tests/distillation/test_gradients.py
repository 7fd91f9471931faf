"""The gradients of a distillation's losses, and what is said about them."""

import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fastsegformer_mm.distillation import DistillationError
from fastsegformer_mm.distillation.gradients import (
    LossGradient,
    average,
    describe,
    find_layers,
    findings,
    loss_weights,
    measure,
    split_losses,
)

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / 'tiny.py')))
set_up = tiny.set_up


class Model(nn.Module):
    """y = deep(shallow(x)) and a branch beside it, all without bias."""

    def __init__(self):
        super().__init__()
        self.shallow = nn.Linear(2, 1, bias=False)
        self.deep = nn.Linear(1, 1, bias=False)
        self.branch = nn.Linear(1, 1, bias=False)
        for layer, weights in (
            (self.shallow, (1, 1)), (self.deep, (2,)), (self.branch, (3,))):
            layer.weight.data = torch.tensor([weights], dtype=torch.float32)


def by_hand():
    """Losses whose gradients are known: d/d shallow = (3, 4) * what follows it."""
    model, x = Model(), torch.tensor([3.0, 4.0])
    hidden = model.shallow(x)
    return model, {
        'student.decode.loss_ce': model.deep(hidden).sum(),  # 2 (3, 4), deep: 7
        'student.aux.loss_ce': model.deep(hidden).sum(),  # the same once more
        'student.decode.acc_seg': torch.tensor(50.0),
        'distill.loss_same': 0.5 * hidden.sum(),  # 0.5 (3, 4)
        'distill.loss_against': -8 * hidden.sum(),  # -8 (3, 4)
        'distill.loss_across': (model.shallow.weight * torch.tensor([8.0, -6])).sum(),
        'distill.loss_branch': model.branch(torch.ones(1)).sum(),
        'distill.statistic': torch.tensor(1.0)}


def test_split():
    _, losses = by_hand()
    task, terms = split_losses(losses)
    assert task.item() == 28
    assert list(terms) == ['loss_same', 'loss_against', 'loss_across', 'loss_branch']
    assert split_losses({'distill.loss_x': task})[0] is None
    # a list counts as the sum of the means, as MMEngine's parse_losses has it
    several = [torch.tensor([1.0, 3.0]), torch.tensor(5.0)]
    assert split_losses({'student.loss': several})[0].item() == 7


def test_figures_by_hand():
    model, losses = by_hand()
    rows = {r.name: r for r in measure(losses, find_layers(model, losses, 'shallow'))}
    assert list(rows) == [
        'task', 'loss_same', 'loss_against', 'loss_across', 'loss_branch',
        'all of distill']
    expected = dict(
        task=(28, 20, 1), loss_same=(3.5, 2.5, 1), loss_against=(-56, 40, -1),
        loss_across=(2, 10, 0))
    for name, (value, norm, cosine) in expected.items():
        row = rows[name]
        assert (row.value, row.norm) == pytest.approx((value, norm))
        assert row.cosine == pytest.approx(cosine, abs=1e-6)
        assert row.share == pytest.approx(norm / 20)
        assert row.task_norm == pytest.approx(20)
    assert rows['loss_branch'].value == 3
    assert math.isnan(rows['loss_branch'].norm)
    # (1.5, 2) - (24, 32) + (8, -6)
    total = rows['all of distill']
    assert total.norm == pytest.approx(math.hypot(14.5, 36))
    assert total.value == pytest.approx(3.5 - 56 + 2 + 3)
    assert total.cosine == pytest.approx(
        -(14.5 * 3 + 36 * 4) / 5 / math.hypot(14.5, 36))
    assert all(p.grad is None for p in model.parameters())


def test_factors_are_in_the_sum_alone():
    model, losses = by_hand()
    factors = dict(loss_against=0.25, loss_across=0)
    rows = measure(losses, find_layers(model, losses, 'shallow'), factors=factors)
    total = rows[-1]
    assert total.norm == pytest.approx(1.5 * 5)
    assert total.value == pytest.approx(3.5 - 14 + 3)
    assert rows[2].norm == pytest.approx(40)


def test_scale_is_not_in_the_figures():
    model, losses = by_hand()
    layers = find_layers(model, losses, 'shallow')
    once, scaled = (measure(losses, layers, scale=s) for s in (1, 2.0**16))
    assert str(once) == str(scaled)


def test_of_several_layers_those_count_that_a_loss_reaches():
    model, losses = by_hand()
    rows = {r.name: r for r in measure(
        losses, find_layers(model, losses, ['shallow', 'deep']))}
    assert rows['task'].norm == pytest.approx(math.hypot(20, 14))
    assert rows['loss_same'].task_norm == pytest.approx(20)
    assert rows['loss_same'].cosine == pytest.approx(1)


def test_task_that_is_not_there():
    model, losses = by_hand()
    layers = find_layers(model, losses, 'shallow')
    losses = {k: v for k, v in losses.items() if k.startswith('distill')}
    with pytest.raises(DistillationError, match='calculate_student_loss=False'):
        measure(losses, layers)


def test_layer_that_all_losses_reach():
    """The first one: not the branch, though it is reached, nor what is frozen."""
    model, losses = by_hand()
    assert list(find_layers(model, losses)) == ['shallow']
    model = tiny.build()
    found = find_layers(model, tiny.losses(model))
    assert list(found) == ['architecture.backbone.stem.conv']
    assert [p.shape for p in found['architecture.backbone.stem.conv']] == [(4, 3, 3, 3)]
    model.student.backbone.stem.requires_grad_(False)
    losses = tiny.losses(model)
    # loss_first reaches nothing but its connector any more
    found = find_layers(model, losses)
    assert list(found) == ['architecture.backbone.project']
    rows = {r.name: r for r in measure(losses, found)}
    assert math.isnan(rows['loss_first'].norm)
    assert rows['loss_second'].norm > 0
    assert rows['loss_second'].task_norm == pytest.approx(rows['task'].norm)


def test_layers_where_none_is_reached_by_all():
    model, x = Model(), torch.ones(2)
    # the branch is what one loss of two knows, and the task
    losses = {
        'student.loss': model.deep(model.shallow(x)) + model.branch(torch.ones(1)),
        'distill.loss_a': model.shallow(x), 'distill.loss_b': model.shallow(x) * 2,
        'distill.loss_c': model.branch(torch.ones(1))}
    assert list(find_layers(model, losses)) == ['shallow', 'branch']
    rows = {r.name: r for r in measure(losses, find_layers(model, losses))}
    assert rows['loss_c'].task_norm == rows['loss_c'].norm == pytest.approx(1)
    assert rows['loss_b'].share == pytest.approx(1)  # 2 (1, 1) beside 2 (1, 1)
    # without a distillation's loss, where the task is
    assert list(find_layers(model, {'student.loss': losses['student.loss']})) == [
        'shallow']


@pytest.mark.parametrize(('name', 'told'), [
    ('architecture.backbone.stam', 'no such module. The nearest: '
     'architecture.backbone.stem'),
    ('architecture.backbone.relu', 'has no parameter that is trained now')])
def test_layers_that_do_not_do(name, told):
    with pytest.raises(DistillationError, match=f"layer='{name}'.*{told}"):
        find_layers(tiny.build(), {}, name)


def test_gradients_are_those_of_a_backward_pass():
    model = tiny.build()
    losses = tiny.losses(model)
    layers = find_layers(model, losses, 'architecture.backbone.stem')
    rows = {r.name: r for r in measure(losses, layers)}
    before = tiny.weights(model)
    vectors = {}
    distilled = [f'distill.{name}' for name in loss_weights(model)]
    for name in ('student.decode.loss_ce', *distilled):
        model.zero_grad()
        losses[name].backward(retain_graph=True)
        grads = [p.grad.flatten() for p in layers['architecture.backbone.stem']]
        vectors[name.split('.')[-1]] = torch.cat(grads)
    task = vectors.pop('loss_ce')
    assert len(vectors) == 3
    for name, vector in vectors.items():
        assert rows[name].norm == pytest.approx(vector.norm().item(), rel=1e-4)
        cosine = torch.cosine_similarity(vector, task, dim=0).item()
        assert rows[name].cosine == pytest.approx(cosine, abs=1e-4)
    assert rows['task'].norm == pytest.approx(task.norm().item(), rel=1e-4)
    total = sum(vectors.values()).norm().item()
    assert rows['all of distill'].norm == pytest.approx(total, rel=1e-4)
    assert tiny.same(before, tiny.weights(model))


def test_inside_autocast_the_backward_pass_is_outside():
    model = tiny.build()
    found = []
    model.loss_observer = lambda losses: found.extend(
        [measure(losses, find_layers(model, losses)), torch.is_autocast_cpu_enabled()])
    with torch.autocast('cpu', torch.bfloat16):
        tiny.losses(model)
    assert found[1] is True
    assert all(0 < row.norm < 10 for row in found[0])


ROWS = [
    LossGradient('task', 0.5, 2.0, 2.0, 1.0),
    LossGradient('loss_large', 1.0, 40.0, 2.0, -0.5),
    LossGradient('loss_small', 1e-3, 0.02, 2.0, 0.25),
    LossGradient('loss_right', 0.1, 1.0, 2.0, 0.0),
    LossGradient('loss_none', 0.1, math.nan, 0.0, math.nan),
    LossGradient('loss_zero', 0.0, 0.0, 2.0, math.nan),
    LossGradient('all of distill', 1.1, 39.0, 2.0, -0.4)]
WEIGHTS = dict(loss_large=5.0, loss_small=0.5, loss_right=1.0)


def test_what_is_out_of_proportion():
    assert findings(ROWS, WEIGHTS, share=0.5) == [
        "loss_large: 20 times the task's gradient; loss_weight=0.12 makes it 0.5",
        "loss_small: 0.01 times the task's gradient; loss_weight=25 makes it 0.5",
        'loss_none does not reach the layer',
        "loss_zero: 0 times the task's gradient",
        "all of distill: 19.5 times the task's gradient"]
    assert findings(ROWS[:2], {}, share=0.1) == [
        "loss_large: 20 times the task's gradient; a factor of 0.005 makes it 0.1"]
    fits = [ROWS[0], *(LossGradient('x', 1, 2 * s, 2, 0) for s in (3, 1 / 30))]
    assert findings(fits, {}, share=0.5) == []


def test_table():
    text = describe(ROWS, WEIGHTS, dict(loss_large=0.0254)).get_string()
    cells = [[c.strip() for c in line.split('|')[1:-1]] for line in text.split('\n')]
    cells = [row for row in cells if row]
    assert cells[0] == [
        'loss', 'weight', 'value', 'gradient norm', 'x task', 'cosine', 'factor']
    assert cells[1] == ['task', '-', '0.5', '2', '1', '+1.00', '-']
    assert cells[2] == ['loss_large', '5.0', '1', '40', '20', '-0.50', '0.0254']
    assert cells[5] == ['loss_none', '-', '0.1', '-', '-', '-', '-']
    assert 'factor' not in describe(ROWS, WEIGHTS).get_string()


def test_average():
    rows = average([[LossGradient('a', 1, 2, 4, 0)], [LossGradient('a', 3, 6, 4, 1)]])
    assert rows == [LossGradient('a', 2, 4, 4, 0.5)]
