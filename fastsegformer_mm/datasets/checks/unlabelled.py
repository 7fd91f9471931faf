"""Whether unlabelled images are drawn as meant, and leave the losses alone."""
from collections.abc import Iterator

import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import Tensor, nn

from .report import Problem
from .settings import ModelSettings, each
from .sources import Source

SAMPLER = 'PartlyLabelledSampler'


def check_unlabelled(cfg: Config, sources: list[Source],
                     settings: ModelSettings) -> Iterator[Problem]:
    """What is wrong with the use of unlabelled images.

    Each loss of the student's heads is tried on one made-up labelled image, alone and
    beside one whose pixels are all ignored. So losses of any package are understood.

    Args:
        cfg (Config): The whole config.
        sources (list[Source]): The data sets in question.
        settings (ModelSettings): Of the same config.

    Yields:
        Problem: About sampler, losses and splits.
    """
    unlabelled = [source for source in sources if not source.labelled]
    for source in unlabelled:
        if source.split != 'train':
            yield Problem(
                'unlabelled-scored', 'error', source.split, source.where,
                'an UnlabelledDataset', 'labels, against which to score',
                'take a labelled set for validation and test')
    if any(source.split == 'train' for source in sources):
        yield from _sampler(cfg, any(s.split == 'train' for s in unlabelled))
    if any(source.split == 'train' for source in unlabelled):
        yield from _losses(settings)


def _sampler(cfg: Config, unlabelled: bool) -> Iterator[Problem]:
    loader = cfg.train_dataloader
    sampler = loader.get('sampler')
    if not isinstance(sampler, dict) or loader.get('batch_sampler'):
        return
    name = getattr(sampler.get('type'), '__name__', str(sampler.get('type')))
    option = 'train_dataloader.sampler'
    if name.split('.')[-1] != SAMPLER:
        if unlabelled:
            yield Problem(
                'sampler', 'warning', 'train', f'{option}.type', name,
                f'{SAMPLER}, which states how many images of a batch are labelled',
                'chance decides otherwise, and a batch may have no label at all: set '
                f"{option}=dict(_delete_=True, type='{SAMPLER}', "
                f'batch_size={loader.get("batch_size")}, labelled=...)')
        return
    size = loader.get('batch_size')
    if sampler.get('batch_size') != size:
        yield Problem(
            'sampler', 'error', 'train', f'{option}.batch_size',
            str(sampler.get('batch_size')), f'{size}, train_dataloader.batch_size',
            'set both to one number, else batches have other shares than stated')
    loop = cfg.get('train_cfg') or {}
    name = getattr(loop.get('type'), '__name__', str(loop.get('type')))
    by_epoch = loop.get('by_epoch', name.split('.')[-1] == 'EpochBasedTrainLoop')
    if by_epoch and sampler.get('endless', True):
        yield Problem(
            'sampler', 'error', 'train', f'{option}.endless', 'True',
            'False with a loop of epochs, the first of which would never end',
            f'set {option}.endless=False, or train by iterations')


def _losses(settings: ModelSettings) -> Iterator[Problem]:
    silent = 'a loss that unlabelled images do not change'
    for place, head in settings.other_heads:
        yield Problem(
            'loss-of-unlabelled', 'error', 'train', place,
            f'{head["type"]} learns from the label maps of unlabelled images', silent,
            f'leave {place} out')
    for place, head in settings.heads:
        classes = head.get('num_classes') or 2
        channels = head.get('out_channels') or classes
        losses = head.get('loss_decode') or dict(type='CrossEntropyLoss')
        for where, config in each(losses, f'{place}.loss_decode'):
            try:
                loss = MODELS.build(dict(config))
                severity, value = effect_of_ignored(
                    loss, classes, channels, head.get('ignore_index', 255))
            except Exception:
                continue  # building the model will say why, or it needs more than these
            if not severity:
                continue
            way_out = 'take another loss'
            if getattr(loss, 'avg_non_ignore', None) is False:
                severity, way_out = 'error', f'set {where}.avg_non_ignore=True'
            elif severity == 'warning':
                way_out = f'raise {where}.loss_weight by that factor, or leave it'
            elif getattr(loss, 'class_weight', None) is not None:
                way_out = f'leave out {where}.class_weight or .avg_non_ignore'
            yield Problem('loss-of-unlabelled', severity, 'train', where,
                          f'{config["type"]} {value}', silent, way_out)


def effect_of_ignored(loss: nn.Module, classes: int, channels: int,
                      ignore_index: int) -> tuple[str, str]:
    """What an image without labels changes in a loss.

    Args:
        loss (nn.Module): Called as MMSegmentation's heads do.
        classes (int): Number of classes.
        channels (int): Of the logits.
        ignore_index (int): Value of all pixels of that image.

    Returns:
        tuple[str, str]: '' where it changes nothing, 'warning' where the labels count
        less, 'error' where it is learnt from or the loss fails; and what happens.

    Raises:
        Exception: Whatever the loss raises for the labelled image alone.
    """
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, channels, 8, 8, generator=generator)
    labels = torch.arange(64).view(1, 8, 8) % classes
    alone, _ = _value(loss, logits[:1], labels, ignore_index)
    ignored = torch.full_like(labels, ignore_index)
    try:
        both, gradient = _value(
            loss, logits, torch.cat([labels, ignored]), ignore_index)
    except Exception as error:
        return 'error', f'fails: {type(error).__name__}: {error}'
    if not torch.isfinite(both) or not torch.isfinite(gradient).all():
        return 'error', f'is {both:g} with an unlabelled image in the batch'
    if gradient[1].abs().max() > 1e-6 * gradient[0].abs().max():
        return 'error', 'learns from pixels without a label'
    if not torch.isclose(both, alone, rtol=1e-4):
        return 'warning', ('averages over unlabelled images, too: with one of two in a '
                           f'batch it is {both:.4g} in place of {alone:.4g}')
    return '', ''


def _value(loss: nn.Module, logits: Tensor, labels: Tensor, ignore_index: int
           ) -> tuple[Tensor, Tensor]:
    """The loss and its gradient."""
    logits = logits.clone().requires_grad_()
    with torch.enable_grad():
        try:
            value = loss(logits, labels, weight=None, ignore_index=ignore_index)
        except TypeError:
            value = loss(logits, labels)  # as PIDHead does
        value = value.sum()
        return value.detach(), torch.autograd.grad(value, logits)[0]
