"""The learning rates of the configs' schedules, iteration by iteration."""

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import CosineAnnealingLR, LinearLR

KINDS = {'CosineAnnealingLR': CosineAnnealingLR, 'LinearLR': LinearLR}
ROOT = Path(__file__).resolve().parents[1]


def learning_rates(cfg, epoch_length):
    """The learning rate of each iteration, as MMEngine steps it."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.Adam([parameter], lr=cfg.optim_wrapper.optimizer.lr)
    schedulers = []
    for scheduler in copy.deepcopy(cfg.param_scheduler):
        kind = KINDS[scheduler.pop('type')]
        if scheduler.pop('convert_to_iter_based', False):
            schedulers.append(kind.build_iter_from_epoch(
                optimizer, epoch_length=epoch_length, **scheduler))
        else:
            schedulers.append(kind(optimizer, **scheduler))
    rates = []
    for _ in range(epoch_length * cfg.train_cfg.get('max_epochs', 0)
                   or cfg.train_cfg.max_iters):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return rates


@pytest.mark.parametrize('epochs', [100, 1000])
def test_schedule(epochs):
    cfg = Config.fromfile(ROOT / f'configs/_base_/schedules/adam_{epochs}e.py')
    adam = cfg.optim_wrapper.optimizer
    assert (adam.type, adam.betas, adam.weight_decay) == ('Adam', (0.9, 0.999), 0)
    assert cfg.train_cfg.max_epochs == epochs
    length = 8  # iterations an epoch
    rates = learning_rates(cfg, length)
    assert len(rates) == epochs * length
    assert rates[0] == pytest.approx(1e-5)
    assert rates[3 * length] == max(rates) == pytest.approx(1e-4)
    warm, low = rates[:3 * length], rates[(epochs - 15) * length:]
    assert warm == sorted(warm)
    assert rates[3 * length:] == sorted(rates[3 * length:], reverse=True)
    middle = (3 + epochs - 15) * length // 2
    assert rates[middle] == pytest.approx((1e-4 + 1e-6) / 2, rel=1e-3)
    assert len(low) == 15 * length
    assert max(low) == pytest.approx(1e-6, rel=1e-3)
    assert min(low) == pytest.approx(1e-6, rel=1e-3)


def test_demo_schedule():
    path, = ROOT.glob('configs/fastsegformer/*-demo_*.py')
    cfg = Config.fromfile(path)
    rates = learning_rates(cfg, 1)
    assert rates[0] == pytest.approx(cfg.base_lr / 10)
    assert rates[cfg.warmup_iters] == max(rates) == pytest.approx(cfg.base_lr)
    assert rates[-1] == pytest.approx(1e-5, rel=0.05)


def test_two_epochs_on_a_cpu():
    path = ROOT / 'configs/_base_/schedules/adam_2e.py'
    cfg = Config.fromfile(path)
    rates = learning_rates(cfg, 400)
    assert len(rates) == 800
    assert rates[0] == pytest.approx(cfg.base_lr / 10)
    assert rates[40] == max(rates) == pytest.approx(cfg.base_lr)
    assert rates[-1] == pytest.approx(1e-6, abs=1e-7)
