"""The size of the images that a config trains on."""

from mmengine.config import Config


def image_size(cfg: Config) -> tuple[int, int]:
    """(height, width) of the training images, from the last resizing transform.

    Args:
        cfg (Config): A whole config. Of several data sets in a ConcatDataset the first
            counts.

    Raises:
        ValueError: No transform of the training pipeline has a size.
    """
    dataset = cfg.train_dataloader.dataset
    steps = [*dataset.get('pipeline', ())]
    while 'datasets' in dataset or 'dataset' in dataset:
        dataset = dataset['datasets'][0] if 'datasets' in dataset else dataset.dataset
        # a wrapper's own steps come last
        steps = [*dataset.get('pipeline', ()), *steps]
    for transform in reversed(steps):
        for key in ('crop_size', 'size', 'scale'):
            if key in transform:
                size = transform[key]
                size = (size, size) if isinstance(size, int) else tuple(size)
                # MMCV has (width, height) there
                return size[::-1] if key == 'scale' else size
    raise ValueError('the training pipeline names no size: give one with --size')
