"""Images without labels, or whose labels are not to be used."""

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.transforms import LoadAnnotations
from mmengine.structures import PixelData
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS, TRANSFORMS

from .navel_orange import check_files
from .transforms import LoadIgnoredAnnotations


@DATASETS.register_module()
class UnlabelledDataset(BaseSegDataset):
    """Images of which every pixel is labelled as ignored.

    They are loaded as in training, by the pipeline of the labelled images: each
    ``LoadAnnotations`` in it becomes a :class:`LoadIgnoredAnnotations`, so that no
    label is read or needed. At its end every pixel of ``gt_sem_seg``, and of other
    label maps of class indices (``gt_edge_map``), is ``ignore_index``, whatever
    padding and rotation have filled in, and ``metainfo['labelled']`` is False.

    Args:
        dataset (dict, optional): Config of a data set, a subclass of
            ``BaseSegDataset``, whose images are taken and whose labels are ignored;
            its pipeline and options count, and no other argument is given. Defaults
            to None: the images are those of the other arguments.
        **kwargs: Of ``BaseSegDataset``. A folder: ``data_root`` and
            ``data_prefix=dict(img_path='photos')``, ``img_suffix`` ('.jpg'). A list:
            ``ann_file`` beside them. ``pipeline``. ``metainfo`` is needed only
            outside of a :class:`PartlyLabelledDataset`, which has that of its
            labelled images. A ``seg_map_path`` in ``data_prefix`` is ignored.

    Raises:
        FileNotFoundError: The folder, the list or an image is missing; when the list
            is loaded, so not under ``lazy_init``.
        TypeError: There are other arguments beside ``dataset``, or it is a wrapper.

    Example:
        >>> photos = UnlabelledDataset(
        ...     data_root='data/line_3', data_prefix=dict(img_path='photos'),
        ...     lazy_init=True)
        >>> photos.data_prefix
        {'img_path': 'data/line_3/photos'}
    """

    def __init__(self, dataset: dict | None = None, pipeline: Sequence = (),
                 lazy_init: bool = False, **kwargs) -> None:
        self.dataset = None
        if dataset is not None:
            if kwargs or pipeline:
                raise TypeError(
                    'UnlabelledDataset: beside dataset=dict(...) there is '
                    f'{", ".join([*kwargs, *["pipeline"] * bool(pipeline)])}; expected '
                    'nothing else, put it into the config of that data set')
            dataset = {**dataset, 'lazy_init': True}
            pipeline = dataset.pop('pipeline', ())
            self.dataset = DATASETS.build(dataset)
            if not isinstance(self.dataset, BaseSegDataset):
                raise TypeError(
                    f'UnlabelledDataset: dataset is a {type(self.dataset).__name__}, '
                    'expected a BaseSegDataset: put the UnlabelledDataset into a '
                    'wrapper, not around it')
            self.dataset.data_prefix.pop('seg_map_path', None)
            kwargs = dict(metainfo=self.dataset.metainfo,
                          ignore_index=self.dataset.ignore_index,
                          max_refetch=self.dataset.max_refetch)
        prefix = kwargs.get('data_prefix') or {'img_path': ''}
        kwargs['data_prefix'] = {
            key: path for key, path in prefix.items() if key != 'seg_map_path'}
        label = dict(type=LoadIgnoredAnnotations,
                     ignore_index=kwargs.get('ignore_index', 255))
        super().__init__(pipeline=_relabelled(pipeline, label), lazy_init=lazy_init,
                         **kwargs)

    def load_data_list(self) -> list[dict]:
        """The records of all images, without labels."""
        if self.dataset is None:
            return check_files(
                self, 'Put the images there, or set data_root and '
                "data_prefix=dict(img_path='FOLDER')")
        self.dataset.full_init()
        records = [self.dataset.get_data_info(k) for k in range(len(self.dataset))]
        for record in records:
            record.pop('seg_map_path', None)
        return records

    def prepare_data(self, idx: int) -> Any:
        """A sample after the pipeline, with all of its labels ignored."""
        data = super().prepare_data(idx)
        if data is not None and 'data_samples' in data:
            sample = data['data_samples']
            if 'gt_sem_seg' not in sample:
                size = (1, *data['inputs'].shape[-2:])
                sample.gt_sem_seg = PixelData(
                    data=torch.zeros(size, dtype=torch.int64))
            for key, pixels in sample.items():
                if key.startswith('gt_') and isinstance(pixels, PixelData):
                    for values in pixels.values():
                        if not values.is_floating_point():
                            values.fill_(self.ignore_index)
            sample.set_metainfo(dict(labelled=False))
        return data


def _relabelled(steps: Any, label: dict) -> Any:
    """Pipeline or step with another config wherever labels are loaded."""
    if isinstance(steps, dict):
        kind = steps.get('type')
        kind = TRANSFORMS.get(kind) if isinstance(kind, str) else kind
        if isinstance(kind, type) and issubclass(kind, LoadAnnotations):
            return label
        return {key: _relabelled(value, label) for key, value in steps.items()}
    if type(steps) in (list, tuple):
        return type(steps)(_relabelled(step, label) for step in steps)
    return label if isinstance(steps, LoadAnnotations) else steps
