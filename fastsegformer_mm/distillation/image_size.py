"""The size of the images that a config trains on."""

from mmengine.config import Config


def image_size(cfg: Config) -> tuple[int, int]:
    """(height, width) of the training images, from the last resizing transform.

    Args:
        cfg (Config): A whole config. Of several data sets in a ConcatDataset the first
            counts, of a PartlyLabelledDataset the labelled one.

    Raises:
        ValueError: No transform of the training pipeline has a size.
    """
    dataset = cfg.train_dataloader.dataset
    steps = [*dataset.get('pipeline', ())]
    while inner := [k for k in ('labelled', 'datasets', 'dataset') if k in dataset]:
        dataset = dataset[inner[0]]
        dataset = dataset[0] if isinstance(dataset, list) else dataset
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
