"""What a config's test set and data preprocessor make of a frame."""

import inspect

from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from mmseg.registry import MODELS, TRANSFORMS

from .errors import DeployError

# by what MMCV makes of a file
CHANNELS = {'color': 3, 'grayscale': 1}
# transforms of a test pipeline that leave the frame as it is
PASSIVE = ('LoadImageFromFile', 'LoadImageFromNDArray', 'LoadAnnotations')
RESIZING = ('LetterBox', 'Resize')


def inference_sets(cfg: Config) -> list[dict]:
    """The configs of the data sets that a config is tested on, without wrappers.

    Args:
        cfg (Config): A whole config.

    Returns:
        list[dict]: Those in a ConcatDataset, else one. They belong to ``cfg``.

    Raises:
        DeployError: The wrapper is a MultiImageMixDataset, which mixes images.
    """
    return list(_unwrap(cfg, cfg.test_dataloader.dataset))


def _unwrap(cfg, dataset):
    if isinstance(dataset.get('datasets'), (list, tuple)):
        for inner in dataset['datasets']:
            yield from _unwrap(cfg, inner)
    elif 'dataset' not in dataset:
        yield dataset
    elif dataset.get('pipeline'):
        raise DeployError(
            f'{cfg.filename}: the test set is a {dataset["type"]} with a pipeline of '
            'its own, which mixes images; expected a data set, or several of them in a '
            'ConcatDataset'
        )
    else:
        yield from _unwrap(cfg, dataset['dataset'])


def inference_pipeline(cfg: Config) -> list[dict]:
    """The steps that every image of the test set goes through.

    Args:
        cfg (Config): A whole config, with the scope of its registries set.

    Raises:
        DeployError: Two data sets of it bring their images to the network differently.
    """
    first, *others = (dataset['pipeline'] for dataset in inference_sets(cfg))
    for pipeline in others:
        if _of_images(pipeline) != _of_images(first):
            raise DeployError(
                f'{cfg.filename}: the data sets of the test set have different '
                'pipelines; expected one way of a frame into the network. Name one of '
                'them: --cfg-options test_dataloader.dataset=...'
            )
    return first


def _of_images(pipeline):
    return [step for step in pipeline if step_name(step) in (*PASSIVE[:2], *RESIZING)]


def step_name(step: dict) -> str:
    """The name of a transform's class."""
    kind = step['type']
    if isinstance(kind, str):
        kind = TRANSFORMS.get(kind)
    return getattr(kind, '__name__', str(step['type']))


def geometry(cfg: Config) -> dict:
    """How frames come to the network's size and number of channels.

    Args:
        cfg (Config): A whole config, with the scope of its registries set.

    Returns:
        dict: 'channels', 'resize', 'size' and what goes with them, as
        :class:`~.model_card.ModelCard` has them.

    Raises:
        DeployError: The test pipeline has something that is not known here.
    """
    found = {'resize': 'none', 'size': tuple(cfg.get('crop_size') or ())}
    load, resized = {}, None
    for step in inference_pipeline(cfg):
        kind = step_name(step)
        if kind == 'LoadImageFromFile':
            load = step
        elif kind in RESIZING and resized:
            raise DeployError(
                f'{cfg.filename}: the test pipeline has {step["type"]} after '
                f'{resized}; expected one of LetterBox and Resize'
            )
        elif kind == 'LetterBox':
            found = dict(
                resize='letterbox',
                size=pair(step['size']),
                pad_val=step.get('pad_val', 128),
                interpolation=step.get('interpolation', 'bicubic'),
                resize_backend=step.get('backend', 'pillow'),
            )
        elif kind == 'Resize' and step.get('scale'):
            found = dict(
                resize='keep_ratio' if step.get('keep_ratio') else 'stretch',
                size=pair(step['scale'])[::-1],
                interpolation=step.get('interpolation', 'bilinear'),
                resize_backend=step.get('backend', 'cv2'),
            )
        elif kind not in (*PASSIVE, 'PackSegInputs'):
            raise DeployError(
                f'{cfg.filename}: the test pipeline has {step["type"]}, which is not '
                'known here; expected LetterBox, or Resize with a scale, between '
                'loading and packing'
            )
        if kind in RESIZING:
            resized = step['type']
    if not found['size']:
        raise DeployError(
            f'{cfg.filename}: neither the test pipeline nor crop_size tells the size '
            "of the network's input; add crop_size = (height, width) to the config"
        )
    return dict(found, channels=_channels(cfg, load, found['resize']))


def pair(size) -> tuple[int, int]:
    """A size of two sides, of which one number may stand for both."""
    return (size, size) if isinstance(size, int) else tuple(size)


def _channels(cfg, load, resize):
    """Channels of what the loading step gives, if it gives what a frame can become."""
    defaults = inspect.signature(LoadImageFromFile).parameters
    expected = {
        'color_type': tuple(CHANNELS),
        'imdecode_backend': ('cv2',),
        # resized, it would not be rounded to whole grey levels
        'to_float32': (False,) if resize != 'none' else (False, True),
    }
    for name, values in expected.items():
        if load.get(name, defaults[name].default) not in values:
            raise DeployError(
                f'{cfg.filename}: the test pipeline loads images with '
                f'{name}={load[name]!r}, and a frame is uint8 BGR; expected '
                f'{" or ".join(map(repr, values))}. Train and test with that'
            )
    return CHANNELS[load.get('color_type', 'color')]


def normalisation(cfg: Config, channels: int) -> dict:
    """What a config's data preprocessor does in testing.

    Args:
        cfg (Config): A whole config, with the scope of its registries set.
        channels (int): Of the images that it gets.

    Returns:
        dict: 'mean', 'std', 'to_rgb' and 'size_divisor', as
        :class:`~.model_card.ModelCard` has them.

    Raises:
        DeployError: It does something that is not known here.
    """
    pre = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
    kind = MODELS.get(pre['type']).__name__ if 'type' in pre else 'SegDataPreProcessor'
    if kind != 'SegDataPreProcessor':
        raise DeployError(
            f'{cfg.filename}: the data preprocessor is {pre["type"]}; expected '
            'SegDataPreProcessor'
        )
    mean = pre.get('mean') or (0,) * channels
    std = pre.get('std') or (1,) * channels
    for name, values in (('mean', mean), ('std', std)):
        if len(values) not in (1, channels):
            raise DeployError(
                f'{cfg.filename}: {name} of the data preprocessor has {len(values)} '
                f'numbers, and images have {channels} channel(s); expected as many, or '
                "one. A network of 3 channels for grey images takes color_type='color'"
            )
    padding = pre.get('test_cfg') or {}
    if padding.get('size') or (padding and pre.get('pad_val')):
        raise DeployError(
            f'{cfg.filename}: the data preprocessor pads with test_cfg={dict(padding)} '
            f'and pad_val={pre.get("pad_val", 0)}; expected size_divisor alone, and 0'
        )
    return dict(
        mean=tuple(float(v) for v in mean) * (channels // len(mean)),
        std=tuple(float(v) for v in std) * (channels // len(std)),
        # both turn the order of the channels around
        to_rgb=channels == 3 and bool(pre.get('bgr_to_rgb') or pre.get('rgb_to_bgr')),
        size_divisor=int(padding.get('size_divisor') or 1),
    )
