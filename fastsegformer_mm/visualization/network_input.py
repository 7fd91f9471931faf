"""What a config feeds its network."""
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import set_random_seed
from mmseg.models.utils import resize
from mmseg.registry import DATASETS, MODELS
from torch import Tensor

from fastsegformer_mm.utils.background import background_of


@dataclass
class NetworkInput:
    """One image as the network gets it.

    Args:
        path (str): File of the image.
        tensor (Tensor): Float, (C, H, W): the network's input, without the batch.
        picture (np.ndarray): The same to be looked at, uint8 RGB of (H, W, 3).
        label (np.ndarray, optional): Class indices. In training of (H, W); in
            testing, where labels usually keep their own size, of any. Defaults to
            None, as of an unlabelled image.
        padding (tuple[int]): Left, right, top and bottom margin in pixels of the
            input, as far as the pipeline packs it as ``padding_size`` and what
            the data preprocessor adds. Defaults to none.
        meta (dict): What the pipeline has packed beside image and label.
        student (np.ndarray, optional): What the student of a distillation gets
            instead, uint8 RGB. Defaults to None.
    """

    path: str
    tensor: Tensor
    picture: np.ndarray
    label: np.ndarray | None = None
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    meta: dict = field(default_factory=dict)
    student: np.ndarray | None = None


class NetworkFeed:
    """Samples of a config's split, through its pipeline and data preprocessor.

    Of the model nothing is built but its data preprocessor.

    Args:
        cfg (Config): A whole config, with the scope of its registries set. In
            those of ``MultiResolutionDistill`` the data preprocessor is the
            student's, and ``student_size`` is looked at.
        split (str): 'train', 'val' or 'test'.

    Raises:
        ValueError: If the config has no such split.
        OSError: If the dataset misses a folder or file.
    """

    def __init__(self, cfg: Config, split: str) -> None:
        loader = cfg.get(f'{split}_dataloader')
        if not loader:
            known = [s for s in ('train', 'val', 'test') if cfg.get(f'{s}_dataloader')]
            raise ValueError(
                f'{cfg.filename} has no {split}_dataloader, expected the name of a '
                f'split that it has ({", ".join(known) or "it has none"}); choose '
                'one by --split')
        self.training = split == 'train'
        self.dataset = DATASETS.build(loader['dataset'])
        meta = self.dataset.metainfo
        self.classes = tuple(meta.get('classes') or ())
        self.palette = list(meta.get('palette') or ())
        self.background = background_of(meta) if self.classes else None
        if not self.classes or len(self.classes) != len(self.palette):
            raise ValueError(
                f'{split}_dataloader.dataset has {len(self.classes)} class names and '
                f'{len(self.palette)} colours, expected one colour a class; give both '
                'in its metainfo')
        network = _network(cfg)
        config = network.get('data_preprocessor') or cfg.get('data_preprocessor')
        self._config = dict(config or {'type': 'mmengine.BaseDataPreprocessor'})
        self._preprocessor = MODELS.build(self._config)
        heads = network.get('decode_head') or {}
        head = heads[0] if isinstance(heads, (list, tuple)) else heads
        self.ignore_index = head.get('ignore_index', 255)
        # testing is the student's alone, and its images come at its size
        size = cfg.get('model', {}).get('student_size') if self.training else None
        self.student_size = (size, size) if isinstance(size, int) else size
        self._align_corners = cfg.get('model', {}).get('align_corners', True)

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def channels(self) -> str:
        """Their order in the tensor; MMCV reads images as BGR."""
        return 'RGB' if self._swaps_channels else 'BGR'

    @property
    def _swaps_channels(self) -> bool:
        return bool(
            self._config.get('bgr_to_rgb') or self._config.get('rgb_to_bgr'))

    @property
    def description(self) -> str:
        """What is done to the pixels, as 'RGB, (x - [0, 0, 0]) / [255, 255, 255]'."""
        mean, std = self._config.get('mean'), self._config.get('std')
        if mean is None:
            return f'{self.channels}, not normalised'
        return f'{self.channels}, (x - {_numbers(mean)}) / {_numbers(std)}'

    def get(self, index: int, seed: int = 0, repeat: int = 0) -> NetworkInput:
        """An image as the network gets it.

        Args:
            index (int): Which of the dataset.
            seed (int): With ``index`` and ``repeat`` it settles every random choice
                of the pipeline.
            repeat (int): Which augmentation of this image.

        Raises:
            ValueError: If the image does not pass the pipeline, or that yields no
                image or no map of class indices.
        """
        info = self.dataset.get_data_info(index)
        path = info.get('img_path', f'image {index}')
        # what transforms draw from, as MMEngine seeds it in a worker
        mixed = np.random.SeedSequence((seed, index, repeat)).generate_state(1)
        set_random_seed(int(mixed[0]))
        try:
            packed = self.dataset[index]
        # whatever a backend raises on a broken file
        except Exception as error:
            raise ValueError(f'{path} does not pass the pipeline: {error}') from error
        inputs, sample = packed.get('inputs'), packed.get('data_samples')
        if not isinstance(inputs, Tensor) or inputs.ndim != 3:
            raise ValueError(
                f'{path}: the pipeline yields {type(inputs).__name__}, expected one '
                'tensor (C, H, W); end it with PackSegInputs, without TestTimeAug')
        meta = dict(sample.metainfo)
        labelled = 'gt_sem_seg' in sample
        batch = self._preprocessor(
            {'inputs': [inputs], 'data_samples': [sample]},
            training=self.training and labelled)
        tensor = batch['inputs'][0].float()
        label = None
        if labelled and meta.get('labelled', True):
            label = batch['data_samples'][0].gt_sem_seg.data.squeeze(0).numpy()
            if label.ndim != 2:
                raise ValueError(
                    f'{path}: its label has the shape {label.shape}, expected '
                    '(height, width): the mask is stored in colours; see '
                    'tools/dataset_converters/color_masks_to_index.py')
        left, right, top, bottom = meta.get('padding_size', (0, 0, 0, 0))
        padding = (left, right + tensor.shape[2] - inputs.shape[2],
                   top, bottom + tensor.shape[1] - inputs.shape[1])
        student = None
        if self.student_size:
            seen = resize(tensor[None], tuple(self.student_size), None, 'bilinear',
                          self._align_corners, warning=False)
            student = self._picture(seen[0])
        return NetworkInput(path, tensor, self._picture(tensor), label, padding,
                            meta, student)

    def _picture(self, tensor: Tensor) -> np.ndarray:
        """(C, H, W) as the network gets it as (H, W, 3) uint8 RGB."""
        mean, std = self._config.get('mean'), self._config.get('std')
        if mean is not None:
            tensor = tensor * _column(std) + _column(mean)
        if tensor.shape[0] < 3:
            tensor = tensor[:1].expand(3, -1, -1)
        picture = tensor[:3].round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
        return np.ascontiguousarray(
            picture if self._swaps_channels else picture[..., ::-1])


def _network(cfg: Config) -> dict:
    """Config of the segmentor, in a distillation that of the student."""
    model = cfg.get('model') or {}
    if 'architecture' in model:
        model = model['architecture']
        if isinstance(model, str):
            model = Config.fromfile(model).model
    return model


def _column(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)


def _numbers(values: Sequence[float]) -> str:
    return f'[{", ".join(f"{v:g}" for v in values)}]'
