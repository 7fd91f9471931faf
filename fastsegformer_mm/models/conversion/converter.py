"""Conversion of official checkpoints."""

from dataclasses import dataclass
from pathlib import Path

from mmseg.registry import DATASETS

from fastsegformer_mm.engine.checkpoint.write import write_checkpoint
from fastsegformer_mm.version import __version__

from ..backbones.official_checkpoint import read_official
from .network import Network
from .recognition import recognise


@dataclass
class Conversion:
    """A converted checkpoint.

    Args:
        network (Network): What was recognised.
        state_dict (dict[str, Tensor]): The weights under this package's names:
            those of a segmentor (``backbone.*``, ``decode_head.*``), or of a
            backbone alone, bare.
        dropped (list[str]): Official keys of the network's ``classifier``, left out.
        absent (list[str]): Our keys, of the network's ``untrained`` ones, that the
            file has none for: the output norms of an ImageNet backbone.
    """

    network: Network
    state_dict: dict
    dropped: list
    absent: list

    @property
    def num_parameters(self):
        """int: Parameters, without running statistics and constants."""
        return sum(
            self.state_dict[prefix + name].numel()
            for prefix, module in self.network.modules.items()
            for name, _ in module.named_parameters()
            if prefix + name in self.state_dict
        )


def convert_state_dict(weights, recognise=recognise):
    """Rename official weights to this package's names.

    Every key has to find its place, and every parameter of the recognised network
    its key: nothing is left out but an ImageNet file's classifier, and nothing is
    filled in but integer buffers, which the constructors make.

    Args:
        weights (dict[str, Tensor]): Official weights, see :func:`read_official`.
        recognise (Callable): From such weights to the :class:`Network` that they
            are of; raises ValueError when it knows none. Defaults to
            :func:`.recognition.recognise`, the networks of this package.

    Returns:
        Conversion: The weights, and what they are of.

    Raises:
        ValueError: The network is unknown, or keys are left over, missing or of
            another shape; the message lists them all, by their official names
            where they have one.

    Example:
        >>> import torch
        >>> from fastsegformer_mm.models.backbones import EfficientFormerV2
        >>> official = EfficientFormerV2('s0').state_dict()
        >>> official['head.bias'] = torch.zeros(1000)
        >>> conversion = convert_state_dict(official)
        >>> conversion.network.name, conversion.dropped
        ('EfficientFormerV2-S0', ['head.bias'])
    """
    network = recognise(weights)
    expected = {}
    for prefix, module in network.modules.items():
        expected.update(module.state_dict(prefix=prefix))

    converted, official, dropped, left_over, misshapen = {}, {}, [], [], []
    for key, value in weights.items():
        if _matches(network.constant, key):
            continue
        if _matches(network.classifier, key):
            dropped.append(key)
            continue
        ours, value = network.rename(key, value)
        if ours not in expected or ours in converted:
            left_over.append(key)
        elif value.shape != expected[ours].shape:
            misshapen.append(
                f'{key}: {tuple(value.shape)}, expected {tuple(expected[ours].shape)}'
            )
            official[ours] = key
        else:
            converted[ours], official[ours] = value, key

    missing, absent = [], []
    for ours, value in expected.items():
        if ours in official:
            continue
        if _matches(network.untrained, ours):
            absent.append(ours)
        elif not value.is_floating_point():
            converted[ours] = value
        else:
            missing.append(ours)
    problems = [
        f'{len(keys)} {what}:\n    ' + '\n    '.join(keys)
        for what, keys in (
            ('left over, without a place in the network', left_over),
            ("missing, by this package's names", missing),
            ('of another shape', misshapen),
        )
        if keys
    ]
    if problems:
        raise ValueError(
            f'it is recognised as {network.name}, but its keys do not all fit. Give '
            'the whole, unchanged official file.\n  ' + '\n  '.join(problems)
        )
    # in the order of our modules, as a checkpoint that was trained here
    converted = {key: converted[key] for key in expected if key in converted}
    return Conversion(network, converted, dropped, absent)


def convert_checkpoint(src, dst, force=False, dataset=None, recognise=recognise):
    """Convert an official checkpoint file to one of MMEngine's layout.

    A segmentor's file is what ``load_from`` and the test tools take. A backbone's
    is what ``init_cfg=dict(type='Pretrained', checkpoint=DST)`` takes, in the
    backbone's config: its keys are bare.

    Args:
        src (str | Path): The official file.
        dst (str | Path): The file to write, ``{'state_dict': ..., 'meta': ...}``.
            Its folder is made, and it appears complete or not at all.
        force (bool): Write over an existing file. Defaults to False.
        dataset (str, optional): The registered data set that a segmentor was
            trained on. Its classes and palette are stored, so that inference by
            ``init_model`` or ``MMSegInferencer`` names and colours them; official
            files do not tell. Defaults to None.
        recognise (Callable): As :func:`convert_state_dict`.

    Returns:
        Conversion: What was converted.

    Raises:
        FileExistsError: dst exists, and force is False.
        FileNotFoundError: src does not exist.
        ValueError: src holds no weights alone, no known network, or keys that do
            not all fit; the message names the file. Or the data set is unknown or
            has another number of classes.
    """
    dst = Path(dst)
    if dst.exists() and not force:
        raise FileExistsError(
            f'{str(dst)!r} exists: give another name, or --force to write over it'
        )
    weights = read_official(src)
    try:
        conversion = convert_state_dict(weights, recognise)
    except ValueError as error:
        raise ValueError(f'checkpoint {str(src)!r}: {error}') from error
    network = conversion.network
    meta = dict(
        network=network.name,
        backbone=network.backbone_name,
        num_classes=network.num_classes,
        converted_from=Path(src).name,
        fastsegformer_mm_version=__version__,
    )
    if dataset is not None:
        meta['dataset_meta'] = _dataset_meta(dataset, network)
    write_checkpoint(dict(meta=meta, state_dict=conversion.state_dict), dst)
    return conversion


def _matches(pattern, key):
    return pattern is not None and pattern.search(key) is not None


def _dataset_meta(name, network):
    """Classes and palette of a registered data set, for this network."""
    known = DATASETS.get(name)
    if known is None:
        raise ValueError(
            f'data set {name!r} is not registered; give the name of its class, such '
            "as 'NavelOrangeDataset'"
        )
    meta = {key: known.METAINFO[key] for key in ('classes', 'palette')}
    if len(meta['classes']) != network.num_classes:
        raise ValueError(
            f'data set {name!r} has {len(meta["classes"])} classes, but the network '
            f'({network.name}) has {network.num_classes}; give the data set that it '
            'was trained on, or none'
        )
    return meta
