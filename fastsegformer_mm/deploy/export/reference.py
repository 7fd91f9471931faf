"""What MMSegmentation's own pipeline makes of frames, in PyTorch and float32."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmseg.registry import MODELS, TRANSFORMS

from ..errors import DeployError
from ..input_settings import inference_pipeline
from ..network import DeployNetwork
from .samples import Samples


@dataclass
class Case:
    """A frame on its way through MMSegmentation.

    Args:
        frame (np.ndarray): uint8 BGR of (H, W, 3).
        image (np.ndarray): The network's input, (1, 3, h, w) float32.
        logits (np.ndarray): (1, C, h, w) float32.
        mask (np.ndarray): (H, W) uint8.
        data_samples (list): What the pipeline has packed, with the label if any.
    """

    frame: np.ndarray
    image: np.ndarray
    logits: np.ndarray
    mask: np.ndarray
    data_samples: list


class Reference:
    """A config's network as ``tools/test.py`` runs it.

    Args:
        cfg (Config): A whole config, with the scope of its registries set.
        network (DeployNetwork): As
            :func:`~fastsegformer_mm.deploy.network.load_network` gave it.
    """

    def __init__(self, cfg: Config, network: DeployNetwork):
        self.segmentor = copy.deepcopy(network.segmentor).eval()
        preprocessor = cfg.model.get('data_preprocessor') or cfg.data_preprocessor
        self.segmentor.data_preprocessor = MODELS.build(preprocessor)
        first, *rest = inference_pipeline(cfg)
        self._from_file = TRANSFORMS.build(first)
        self._from_array = TRANSFORMS.build(dict(type='LoadImageFromNDArray'))
        self._grey = first.get('color_type') == 'grayscale'
        self._rest = rest

    def cases(self, samples: Samples) -> Iterator[Case]:
        """Run every sample.

        Raises:
            DeployError: An image or label cannot be read.
        """
        rest = [
            step
            for step in self._rest
            if samples.labelled
            or TRANSFORMS.get(step['type']).__name__ != 'LoadAnnotations'
        ]
        pipeline = Compose(rest)
        for record in samples.records:
            load = self._from_array if 'img' in record else self._from_file
            try:
                results = load(dict(record))
                frame = self._frame(results)
                packed = pipeline(results)
            except (AssertionError, AttributeError, OSError, ValueError) as error:
                raise DeployError(
                    f'{record.get("img_path", "a frame")} cannot be read ({error}); '
                    'repair the file, or take it out of the images for the report'
                ) from error
            yield self._case(frame, packed)

    def _frame(self, results):
        """uint8 BGR of what was loaded, which becomes grey if it is to."""
        frame = results['img'].astype(np.uint8)
        if frame.ndim == 2:
            return mmcv.gray2bgr(frame)
        if self._grey:
            results['img'] = mmcv.bgr2gray(frame)
        return frame

    @torch.no_grad()
    def _case(self, frame, packed):
        batch = pseudo_collate([packed])
        data = self.segmentor.data_preprocessor(batch, False)
        image, data_samples = data['inputs'], data['data_samples']
        metas = [sample.metainfo for sample in data_samples]
        logits = self.segmentor.encode_decode(image, metas)
        case = Case(
            frame,
            image.numpy(),
            logits.numpy(),
            np.empty(0),
            data_samples,
        )
        case.mask = self.mask(case.logits, case)
        return case

    @torch.no_grad()
    def mask(self, logits: np.ndarray, case: Case) -> np.ndarray:
        """(H, W) uint8 of logits, as MMSegmentation resizes and compares them."""
        found = self.segmentor.postprocess_result(
            torch.from_numpy(np.array(logits, np.float32)),
            copy.deepcopy(case.data_samples),
        )
        return found[0].pred_sem_seg.data[0].numpy().astype(np.uint8)
