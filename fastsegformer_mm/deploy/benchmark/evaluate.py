"""mIoU of a runtime on a config's test set, by the config's own metric."""

from collections.abc import Callable

import mmcv
import numpy as np
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from mmseg.registry import DATASETS
from mmseg.structures import SegDataSample

from ..config import open_config
from ..errors import DeployError
from ..input_settings import inference_sets


def evaluate(
    config,
    segment: Callable,
    cfg_options: dict | None = None,
    keep: Callable = lambda mask: None,
) -> dict[str, float]:
    """Metrics of masks on the test set that ``tools/test.py`` takes.

    Args:
        config (str | Path): The network's config.
        segment (Callable): uint8 BGR (H, W, 3) -> uint8 mask (H, W).
        cfg_options (dict, optional): Settings to override in the config.
        keep (Callable): Given each mask.

    Returns:
        dict[str, float]: Such as ``{'mIoU': 71.2}``, percent, and 'images'.

    Raises:
        DeployError: The test set is not there.
    """
    cfg = open_config(config, cfg_options)
    settings = cfg.test_dataloader.dataset
    # labels as the data set reads them, at the photograph's own size
    for dataset in inference_sets(cfg):
        dataset['pipeline'] = [
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='PackSegInputs'),
        ]
    try:
        dataset = DATASETS.build(settings)
    except (OSError, AssertionError) as error:
        raise DeployError(f'{config}: its test set cannot be read: {error}') from error
    if not len(dataset):
        root = inference_sets(cfg)[0].get('data_root')
        raise DeployError(
            f'{config}: its test set in {root} has no images; '
            'name the folder: --cfg-options test_dataloader.dataset.data_root=DIR'
        )
    evaluator = Evaluator(cfg.test_evaluator)
    evaluator.dataset_meta = dataset.metainfo
    for item in dataset:
        sample = item['data_samples']
        mask = segment(mmcv.imread(sample.img_path))
        keep(mask)
        sample = SegDataSample(metainfo=sample.metainfo, gt_sem_seg=sample.gt_sem_seg)
        sample.pred_sem_seg = PixelData(
            data=torch.from_numpy(mask.astype(np.int64))[None]
        )
        evaluator.process([sample])
    metrics = evaluator.evaluate(len(dataset))
    return {
        **{k: float(v) for k, v in metrics.items() if np.isscalar(v)},
        'images': len(dataset),
    }
