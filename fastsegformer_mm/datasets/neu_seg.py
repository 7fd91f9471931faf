"""NEU-Seg, defects of hot-rolled steel."""

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from .navel_orange import check_files


@DATASETS.register_module()
class NEUSegDataset(BaseSegDataset):
    """Surface defects of hot-rolled steel strip, 200x200 pixels (NEU-Seg; Dong et
    al., "PGA-Net", IEEE Trans. Ind. Inform. 16(12), 2020)::

        data_root/images/{train,val,test}/*.jpg
        data_root/annotations/{train,val,test}/*.png

    ``tools/dataset_converters/neu_seg.py`` makes this layout from the set as it is
    published. Published scores leave the background out of the mean.

    Args:
        data_prefix (dict): Folders of images and labels, relative to ``data_root``.
            Defaults to those of the training split.
        **kwargs: Of ``BaseSegDataset``: ``data_root``, ``pipeline``, ``ann_file``
            (names of the images to take; defaults to all in the folder), ...

    Raises:
        FileNotFoundError: If a folder, the split file, an image or a label is
            missing; when the list is loaded, so not under ``lazy_init``.

    Example:
        >>> from fastsegformer_mm.datasets.neu_seg import NEUSegDataset
        >>> dataset = NEUSegDataset(
        ...     data_root='data/neu_seg', lazy_init=True,
        ...     data_prefix=dict(img_path='images/test',
        ...                      seg_map_path='annotations/test'))
        >>> dataset.metainfo['classes']
        ('background', 'inclusion', 'patch', 'scratch')
    """

    METAINFO = {
        'classes': ('background', 'inclusion', 'patch', 'scratch'),
        'palette': [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]],
    }

    def __init__(self, data_prefix: dict | None = None, **kwargs) -> None:
        if data_prefix is None:
            data_prefix = {'img_path': 'images/train',
                           'seg_map_path': 'annotations/train'}
        super().__init__(data_prefix=data_prefix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """The records of all images, every file of them checked to be there."""
        return check_files(
            self, f'Make {self.data_root or "data/neu_seg"} by: python '
            'tools/dataset_converters/neu_seg.py NEU_Seg.zip '
            f'{self.data_root or "data/neu_seg"}')
