"""Labelled images and, behind them, images without labels."""

from collections.abc import Iterator

from mmengine.dataset import ConcatDataset, RepeatDataset
from mmseg.registry import DATASETS
from torch.utils.data import Dataset

from .unlabelled import UnlabelledDataset


@DATASETS.register_module()
class PartlyLabelledDataset(ConcatDataset):
    """A labelled data set and, behind it, an unlabelled one.

    ``metainfo['labelled']`` of each sample says which of the two it is from. How many
    of each a batch has is the matter of :class:`PartlyLabelledSampler`.

    Args:
        labelled (dict | Dataset): The labelled data set, or its config; its classes
            and colours are those of both.
        unlabelled (dict | Dataset): An :class:`UnlabelledDataset`, or several in a
            ``ConcatDataset``. Its pipeline has to make images of the same size, and
            should be the same.
        lazy_init (bool): Whether the lists of files are loaded later, by
            ``full_init``. Defaults to False.

    Attributes:
        sizes (tuple[int, int]): Number of labelled and of unlabelled images.

    Raises:
        TypeError: ``unlabelled`` has labels that would be used.

    Example:
        >>> dataset = PartlyLabelledDataset(
        ...     labelled=dict(type='NEUSegDataset', data_root='data/neu_seg'),
        ...     unlabelled=dict(type='UnlabelledDataset', data_root='data/line_3',
        ...                     data_prefix=dict(img_path='photos')), lazy_init=True)
        >>> dataset.metainfo['classes']
        ('background', 'inclusion', 'patch', 'scratch')
    """

    def __init__(self, labelled: dict | Dataset, unlabelled: dict | Dataset,
                 lazy_init: bool = False) -> None:
        # MMEngine's own wants equal metainfo, which a folder of images has not
        later = dict(lazy_init=True) if lazy_init else {}
        self.datasets = [
            DATASETS.build({**part, **later}) if isinstance(part, dict) else part
            for part in (labelled, unlabelled)]
        for part in _without_wrappers(self.datasets[1]):
            if not isinstance(part, UnlabelledDataset):
                raise TypeError(
                    f'PartlyLabelledDataset: unlabelled is a {type(part).__name__}, '
                    "whose labels would be used; expected dict(type='UnlabelledDataset'"
                    ', dataset=dict(...)) around its config')
        self._metainfo = self.datasets[0].metainfo
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    @property
    def sizes(self) -> tuple[int, int]:
        """Number of labelled and of unlabelled images."""
        return len(self.datasets[0]), len(self.datasets[1])

    def __getitem__(self, idx: int) -> dict:
        """inputs (C, H, W) and data_samples of an image, labelled ones first."""
        data = super().__getitem__(idx)
        labelled = self._get_ori_dataset_idx(idx)[0] == 0
        data['data_samples'].set_metainfo(dict(labelled=labelled))
        return data


def _without_wrappers(dataset: Dataset) -> Iterator[Dataset]:
    if isinstance(dataset, ConcatDataset):
        for part in dataset.datasets:
            yield from _without_wrappers(part)
    elif isinstance(dataset, RepeatDataset):
        yield from _without_wrappers(dataset.dataset)
    else:
        yield dataset
