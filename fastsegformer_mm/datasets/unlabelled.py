"""Images without labels."""

import copy

from mmengine.dataset import Compose
from mmseg.registry import DATASETS
from torch.utils.data import Dataset


@DATASETS.register_module()
class UnlabelledDataset(Dataset):
    """The images of another data set; their labels are never read.

    Every pixel of ``gt_sem_seg`` is ``ignore_index``, whatever the steps of the
    pipeline fill borders with, so that no loss of the labels sees it. The images
    come as in training, through the pipeline of the data set, in which
    ``LoadAnnotations`` is replaced by :class:`LoadIgnoredAnnotations`.

    Args:
        dataset (dict): Config of a data set in the manner of BaseSegDataset, which is
            its default type: a folder (``data_prefix=dict(img_path=...)``,
            ``img_suffix``), a list (``ann_file``), or a labelled data set whose
            labels are not to be used.
        ignore_index (int): Defaults to 255.

    Example:
        >>> dict(type='UnlabelledDataset', dataset=dict(
        ...     data_root='data/line_3', data_prefix=dict(img_path='photos'),
        ...     pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
        ...               dict(type='PackSegInputs')]))
    """

    def __init__(self, dataset: dict, ignore_index: int = 255) -> None:
        config = {'type': 'BaseSegDataset', **copy.deepcopy(dict(dataset))}
        config['pipeline'] = without_labels(config.get('pipeline', ()), ignore_index)
        self.dataset = DATASETS.build(config)
        self.ignore_index = ignore_index

    @property
    def metainfo(self) -> dict:
        """That of the data set."""
        return self.dataset.metainfo

    @property
    def pipeline(self) -> Compose:
        """That of the data set, without labels."""
        return self.dataset.pipeline

    def full_init(self) -> None:
        """Read the list of the images."""
        self.dataset.full_init()

    def get_data_info(self, index: int) -> dict:
        """Paths and metainfo of an image."""
        return self.dataset.get_data_info(index)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict:
        """inputs (C, H, W) and data_samples; ``metainfo['labelled']`` is False."""
        sample = self.dataset[index]
        data = sample['data_samples']
        data.gt_sem_seg.data.fill_(self.ignore_index)
        data.set_metainfo(dict(labelled=False))
        return sample


def without_labels(pipeline, ignore_index: int = 255) -> list:
    """A pipeline whose steps read no labels.

    Args:
        pipeline (Sequence[dict]): Configs of its steps.
        ignore_index (int): Of every pixel. Defaults to 255.

    Raises:
        ValueError: It has no ``LoadAnnotations`` to replace.
    """
    steps = [
        dict(type='LoadIgnoredAnnotations', ignore_index=ignore_index)
        if loads_labels(step)
        else step
        for step in pipeline
    ]
    if not any(map(loads_labels, pipeline)):
        raise ValueError(
            'UnlabelledDataset: its pipeline has no LoadAnnotations; give it the one '
            'of the labelled images, so that both are augmented alike'
        )
    return steps


def loads_labels(step) -> bool:
    """Whether a step of a pipeline is ``LoadAnnotations``, by its config."""
    kind = step.get('type', '') if isinstance(step, dict) else type(step)
    return getattr(kind, '__name__', str(kind)).split('.')[-1] == 'LoadAnnotations'
