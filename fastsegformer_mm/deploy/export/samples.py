"""Frames on which an artefact is compared with the network it comes from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config
from mmseg.registry import DATASETS

from ..errors import DeployError

SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
SYNTHETIC = 8


@dataclass
class Samples:
    """Where frames and labels are.

    Args:
        records (list[dict]): What the pipeline's loading takes, one a frame.
        source (str): Where they are from, in words.
        labelled (bool): Whether every frame has a label.
        synthetic (bool): Whether they are drawn and not photographed.
    """

    records: list[dict]
    source: str
    labelled: bool
    synthetic: bool = False


def find_samples(
    cfg: Config,
    split: str | None = None,
    images: Sequence[str | Path] = (),
    labels: str | Path | None = None,
    num: int = 100,
) -> Samples:
    """Choose frames.

    Args:
        cfg (Config): A whole config, with the scope of its registries set.
        split (str, optional): 'train', 'val' or 'test'. Defaults to None: 'test' if
            its files are there, else frames drawn by the generator of oranges.
        images (Sequence): Files or folders to take instead.
        labels (str | Path, optional): Folder with a PNG of class indices for each of
            ``images``, by its stem. Defaults to None, none.
        num (int): At most so many, evenly spread. 0 for all. Defaults to 100.

    Raises:
        DeployError: What was named is not there.
    """
    if num < 0:
        raise DeployError(f'num={num} images; expected 0 (all) or more')
    if images:
        samples = _of_files(images, labels)
    elif labels:
        raise DeployError(f'labels={labels} goes with images; name those by --images')
    else:
        samples = _of_split(cfg, split)
    count = len(samples.records)
    if num and num < count:
        places = np.linspace(0, count - 1, num).round().astype(int)
        samples.records = [samples.records[i] for i in places]
        samples.source += f', {num} of {count}'
    return samples


def _of_files(images, labels):
    files = []
    for name in map(Path, images):
        if name.is_dir():
            files += sorted(f for f in name.rglob('*') if f.suffix.lower() in SUFFIXES)
        elif name.is_file():
            files.append(name)
        else:
            raise DeployError(f'--images {name}: there is no such file or folder')
    if not files:
        raise DeployError(
            f'--images {images[0]}: the folder has no image; expected some of '
            f'{", ".join(SUFFIXES)}'
        )
    records = [_record(img_path=str(file)) for file in files]
    if labels:
        for record, file in zip(records, files):
            label = Path(labels, f'{file.stem}.png')
            if not label.is_file():
                raise DeployError(
                    f'--labels {labels}: there is no {label.name} for {file}; expected '
                    'a PNG of class indices for each image'
                )
            record['seg_map_path'] = str(label)
    return Samples(records, ', '.join(map(str, images)), bool(labels))


def _of_split(cfg, split):
    loader = cfg.get(f'{split or "test"}_dataloader')
    if not loader:
        raise DeployError(
            f'--split {split}: {cfg.filename} has no {split}_dataloader; expected one '
            'of train, val and test'
        )
    try:
        dataset = DATASETS.build(loader['dataset'])
        records = [dict(dataset.get_data_info(i)) for i in range(len(dataset))]
        if not all(Path(record['img_path']).is_file() for record in records):
            raise FileNotFoundError('some of its images are missing')
        if not records:
            raise FileNotFoundError('it has no images')
    except (AssertionError, KeyError, OSError, ValueError) as error:
        if split:
            raise DeployError(
                f'--split {split}: the data set cannot be read: {error}. Put it there, '
                'or name images by --images'
            ) from error
        return _drawn()
    labelled = all(Path(r.get('seg_map_path') or '').is_file() for r in records)
    return Samples(records, f'{split or "test"} split of the config', labelled)


def _drawn():
    from fastsegformer_mm.datasets.synthetic.generator import make_sample

    records = []
    for index in range(SYNTHETIC):
        image, _ = make_sample(0, index, 256)
        # of several aspects
        image = cv2.cvtColor(image[: 256 - 8 * index], cv2.COLOR_RGB2BGR)
        records.append(_record(img=image))
    return Samples(records, 'synthetic oranges', False, True)


def _record(**content):
    return dict(content, label_map=None, reduce_zero_label=False, seg_fields=[])
