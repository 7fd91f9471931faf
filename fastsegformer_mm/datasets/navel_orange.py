"""Navel oranges, and any other set in the layout of Pascal VOC."""

import os.path as osp

import mmengine.fileio as fileio
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset, PascalVOCDataset
from mmseg.registry import DATASETS


def check_files(dataset: BaseSegDataset, remedy: str) -> list[dict]:
    """Load a dataset's list; one error if a folder or a file of it is missing.

    MMSegmentation itself notices a missing file only when a worker comes to read it.

    Args:
        dataset (BaseSegDataset): The dataset, its paths already joined.
        remedy (str): What the error tells the user to do.

    Returns:
        list[dict]: The records of ``BaseSegDataset.load_data_list``, without those
        of blank lines.

    Raises:
        FileNotFoundError: If the image folder, the split file, an image or a label
            is missing, or there are no images.
    """
    name = type(dataset).__name__

    def error(text: str) -> FileNotFoundError:
        return FileNotFoundError(f'{name}: {text}. {remedy}')

    def exists(path: str) -> bool:
        return fileio.exists(path, backend_args=dataset.backend_args)

    folder = dataset.data_prefix['img_path']
    if not exists(folder):
        raise error(f'there is no image folder {folder}')
    if dataset.ann_file and not exists(dataset.ann_file):
        raise error(f'there is no split file {dataset.ann_file}')
    source = dataset.ann_file or folder
    records = [record for record in BaseSegDataset.load_data_list(dataset)
               if osp.basename(record['img_path']) != dataset.img_suffix]
    if not records:
        raise error(f'{source} names no images (*{dataset.img_suffix})')
    absent = [record[key] for key in ('img_path', 'seg_map_path')
              for record in records if key in record and not exists(record[key])]
    if absent:
        more = f' and {len(absent) - 5} more' if len(absent) > 5 else ''
        raise error(f'{source} names {len(records)} images, but there is no '
                    f'{", ".join(absent[:5])}{more}')
    return records


@DATASETS.register_module()
class NavelOrangeDataset(BaseSegDataset):
    """Surface defects of navel oranges (Cai et al., Comput. Electron. Agric. 217,
    2024), in the layout of Pascal VOC::

        data_root/JPEGImages/*.jpg
        data_root/SegmentationClass/*.png      palette PNG of class indices
        data_root/ImageSets/Segmentation/{train,val,test}.txt

    ``tools/dataset_converters/split_voc.py`` writes the split files.

    The same class serves a user's own set in this layout: give its classes in
    ``metainfo``. Names of which at least one is no class of navel oranges are taken
    as the set's own, label i being the i-th name, with Pascal VOC's colours unless
    ``metainfo`` has a ``palette``. Names that are all classes of navel oranges keep
    MMSegmentation's meaning: they select and re-order those, and the pixels of the
    others become 255. A subclass with its own ``METAINFO`` works as well.

    Args:
        ann_file (str): Split file, the names of the images without suffix, one a
            line; relative to ``data_root``. Defaults to '', all images.
        data_prefix (dict): Folders of images and labels, relative to ``data_root``.
            Without ``seg_map_path`` no labels are expected. Defaults to
            ``dict(img_path='JPEGImages', seg_map_path='SegmentationClass')``.
        **kwargs: Of ``BaseSegDataset``: ``data_root``, ``pipeline``, ``metainfo``,
            ``img_suffix`` ('.jpg'), ``seg_map_suffix`` ('.png'), ...

    Raises:
        FileNotFoundError: If a folder, the split file, an image or a label is
            missing; when the list is loaded, so not under ``lazy_init``.

    Example:
        >>> from fastsegformer_mm.datasets.navel_orange import NavelOrangeDataset
        >>> dataset = NavelOrangeDataset(
        ...     data_root='data/navel_orange', lazy_init=True,
        ...     ann_file='ImageSets/Segmentation/train.txt')
        >>> dataset.metainfo['classes']
        ('background', 'sunburn', 'ulcer', 'wind scarring')
        >>> defects = NavelOrangeDataset(
        ...     lazy_init=True, metainfo=dict(classes=('ulcer', 'sunburn')))
        >>> defects.metainfo['label_map']
        {0: 255, 1: 1, 2: 0, 3: 255}
    """

    METAINFO = {
        'classes': ('background', 'sunburn', 'ulcer', 'wind scarring'),
        'palette': [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]],
    }

    def __init__(self, ann_file: str = '', data_prefix: dict | None = None,
                 **kwargs) -> None:
        if data_prefix is None:
            data_prefix = {'img_path': 'JPEGImages',
                           'seg_map_path': 'SegmentationClass'}
        super().__init__(ann_file=ann_file, data_prefix=data_prefix, **kwargs)

    @classmethod
    def _has_own_classes(cls, classes) -> bool:
        return classes is not None and not set(classes) <= set(
            cls.METAINFO['classes'])

    @classmethod
    def _load_metainfo(cls, metainfo: dict | None = None) -> dict:
        loaded = super()._load_metainfo(metainfo)
        classes = loaded['classes']
        if cls._has_own_classes(classes):
            print_log(
                f'{cls.__name__}: {list(classes)} are not all of '
                f"{list(cls.METAINFO['classes'])}: taken as the set's own classes, "
                'label i is the i-th name', logger='current')
            if 'palette' not in metainfo:
                colors = PascalVOCDataset.METAINFO['palette']
                # with more classes than VOC's MMSegmentation draws random colours
                loaded['palette'] = (colors[:len(classes)]
                                     if len(classes) <= len(colors) else [])
        return loaded

    @classmethod
    def get_label_map(cls, new_classes=None) -> dict | None:
        """Old label to new label where classes of the set are selected."""
        if cls._has_own_classes(new_classes):
            return None
        return super().get_label_map(new_classes)

    def load_data_list(self) -> list[dict]:
        """The records of all images, every file of them checked to be there."""
        root = self.data_root or 'ROOT'
        return check_files(
            self, f'Expected {root}/JPEGImages/*.jpg and '
            f'{root}/SegmentationClass/*.png; split files are written by: python '
            f'tools/dataset_converters/split_voc.py {root}')
