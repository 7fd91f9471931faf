"""Labelled images and, behind them, images without labels."""

from mmengine.logging import print_log
from mmseg.registry import DATASETS
from torch.utils.data import ConcatDataset

from .unlabelled import UnlabelledDataset


@DATASETS.register_module()
class PartlyLabelledDataset(ConcatDataset):
    """Labelled images and, behind them, images without labels.

    The samples without labels have ``metainfo['labelled']`` False. How many of each
    kind a batch has is the matter of :class:`PartlyLabelledBatchSampler`.

    Args:
        labelled (dict): Config of the labelled data set, whose classes and colours
            are those of both.
        unlabelled (dict): Config of an :class:`UnlabelledDataset`, or of any data
            set, whose labels are then ignored.

    Attributes:
        sizes (tuple[int, int]): Numbers of images, labelled and unlabelled.
        metainfo (dict): That of the labelled data set.
    """

    def __init__(self, labelled: dict, unlabelled: dict) -> None:
        labelled = DATASETS.build(labelled)
        if str(unlabelled.get('type')).split('.')[-1] != UnlabelledDataset.__name__:
            unlabelled = dict(type=UnlabelledDataset.__name__, dataset=unlabelled)
        unlabelled = DATASETS.build({'_scope_': 'mmseg', **unlabelled})
        super().__init__([labelled, unlabelled])
        self.sizes = (len(labelled), len(unlabelled))
        self.metainfo = labelled.metainfo
        print_log(
            f'Data: {self.sizes[0]} labelled and {self.sizes[1]} unlabelled images',
            'current',
        )
