"""Parameters and multiply-accumulates (MACs) of a segmentor, part by part."""

from dataclasses import dataclass

import torch
from mmengine.model import revert_sync_batchnorm
from torch import nn

from .mac_counter import OTHER, MacCounter

NOT_MEASURED = ('data_preprocessor', 'auxiliary_head')


@dataclass
class Part:
    """One part of a network.

    Args:
        name (str): Its path in the segmentor, such as ``decode_head.pyramid``.
        parameters (int): Its parameters, frozen ones included.
        weight_macs (int): MACs of convolutions and linear layers.
        light_macs (int): MACs of the other layers, see :func:`measure`.
        attention_macs (int): MACs of two feature maps with one another: query
            with key, attention with value.
    """

    name: str
    parameters: int
    weight_macs: int = 0
    light_macs: int = 0
    attention_macs: int = 0

    @property
    def layer_macs(self):
        """int: MACs of all layers, without attention's products."""
        return self.weight_macs + self.light_macs

    @property
    def macs(self):
        """int: MACs of all layers and of attention's products."""
        return self.layer_macs + self.attention_macs


@dataclass
class Complexity:
    """What :func:`measure` found.

    Args:
        shape (tuple[int]): Height and width of the input, in pixels.
        parts (list[Part]): The parts that run at inference, in their order.
        auxiliary_parameters (int): Parameters of the auxiliary heads, which run
            in training only. No part holds them.
    """

    shape: tuple
    parts: list
    auxiliary_parameters: int

    @property
    def total(self):
        """Part: Sum of the parts, without the auxiliary heads."""
        return Part(
            'total',
            *(
                sum(getattr(part, count) for part in self.parts)
                for count in (
                    'parameters',
                    'weight_macs',
                    'light_macs',
                    'attention_macs',
                )
            ),
        )


def measure(model, shape):
    """Count parameters and MACs of a segmentor at inference, batch 1.

    Layers are counted as THOP does, by which the published figures of FastSegFormer
    were measured: convolutions and linear layers exactly, without their bias; batch,
    layer and instance norms 4 an element (2 without weight); average pooling 1 an
    output; softmax layers 3 an element; bilinear doubling of a map 11 an output and
    nearest doubling 1. Other resizing, activations, GroupNorm and sums count nothing.
    Attention's products of two feature maps, which THOP does not see, stand apart.

    Args:
        model (BaseSegmentor): The segmentor. It is put into eval mode, and its
            SyncBN becomes BN.
        shape (tuple[int]): Height and width of the input, in pixels.

    Returns:
        Complexity: The counts, by part: each child of the segmentor, and in
        place of the decode head its children, in the order in which they run.

    Raises:
        RuntimeError: The segmentor cannot take an input of this shape.

    Example:
        >>> import mmseg.models
        >>> from mmseg.registry import MODELS
        >>> model = MODELS.build(dict(
        ...     type='EncoderDecoder',
        ...     backbone=dict(type='ResNetV1c', depth=18),
        ...     decode_head=dict(
        ...         type='FCNHead', in_channels=512, channels=16, num_convs=1,
        ...         kernel_size=1, concat_input=False, num_classes=4),
        ...     test_cfg=dict(mode='whole')))
        >>> head = measure(model, (64, 64)).parts[1:]
        >>> [(p.name, p.parameters, p.weight_macs) for p in head]
        [('decode_head.convs', 8208, 32768), ('decode_head.conv_seg', 68, 256)]
    """
    model = revert_sync_batchnorm(model).eval()
    parts = _parts(model)
    counter = MacCounter(model, parts)
    image = torch.zeros(1, 3, *shape, device=next(model.parameters()).device)
    meta = dict(img_shape=shape, ori_shape=shape, pad_shape=shape)
    with counter.counting():
        try:
            model.encode_decode(image, [meta])
        except (RuntimeError, AssertionError, ValueError) as error:
            raise RuntimeError(
                f'{type(model).__name__} does not run on an input of '
                f'{shape[0]}x{shape[1]} pixels: {error}. Give another size, such as '
                'the one it is trained with'
            ) from error

    auxiliary = getattr(model, 'auxiliary_head', None)
    auxiliary = _count(auxiliary) if auxiliary is not None else 0
    parameters = {name: _count(part) for name, part in parts.items()}
    parameters[OTHER] = _count(model) - auxiliary - sum(parameters.values())
    rows = [
        Part(
            name,
            count,
            counter.weight_macs[name],
            counter.light_macs[name],
            counter.attention_macs[name],
        )
        for name, count in parameters.items()
    ]
    # losses, activations and the like have nothing to state
    rows = [row for row in rows if row.parameters or row.macs]
    # parts that do not run come last
    order = {name: i for i, name in enumerate(counter.order)}
    rows.sort(key=lambda row: order.get(row.name, len(order)))
    return Complexity(tuple(shape), rows, auxiliary)


def inference_shape(cfg):
    """Height and width that a config tests at.

    Taken from the first of these that the config has: the size of the test
    pipeline's ``LetterBox``; the scale of its ``Resize``, unless that keeps the
    aspect ratio (the size then hangs on the image); ``crop_size``; 224.

    Args:
        cfg (Config): A config, as read from its file.

    Returns:
        tuple[tuple[int], str]: (height, width) in pixels, and where they are
        from.

    Example:
        >>> from mmengine import Config
        >>> inference_shape(Config(dict(test_pipeline=[
        ...     dict(type='Resize', scale=(512, 256))])))
        ((256, 512), "test_pipeline's Resize")
    """
    pipeline = cfg.get('test_pipeline')
    if pipeline is None:
        dataset = (cfg.get('test_dataloader') or {}).get('dataset', {})
        pipeline = dataset.get('pipeline', [])
    for transform in pipeline:
        if transform['type'] == 'LetterBox':
            return tuple(transform['size']), "test_pipeline's LetterBox"
        if (
            transform['type'] == 'Resize'
            and 'scale' in transform
            and not transform.get('keep_ratio', False)
        ):
            # MMCV's scale is (width, height)
            return tuple(transform['scale'][::-1]), "test_pipeline's Resize"
    if cfg.get('crop_size') is not None:
        return tuple(cfg['crop_size']), 'crop_size'
    return (224, 224), 'the default'


def _parts(model):
    """{path: module} of the segmentor's children and its decode head's children."""
    parts = {}
    for name, child in model.named_children():
        if name in NOT_MEASURED:
            continue
        if name != 'decode_head':
            parts[name] = child
            continue
        # a cascade has a list of heads
        heads = child if isinstance(child, nn.ModuleList) else [child]
        for i, head in enumerate(heads):
            path = f'{name}.{i}' if len(heads) > 1 else name
            parts.update({f'{path}.{k}': v for k, v in head.named_children()})
    return parts


def _count(module):
    return sum(p.numel() for p in module.parameters())
