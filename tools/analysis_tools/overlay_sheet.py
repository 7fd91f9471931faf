"""Draw image, label and prediction of some samples side by side.

Examples:
    python tools/analysis_tools/overlay_sheet.py CONFIG CHECKPOINT --out sheet.png
    python tools/analysis_tools/overlay_sheet.py CONFIG CHECKPOINT --out sheet.png \
        --images photo.jpg folder/of/photos
"""

import argparse
import sys
from pathlib import Path

import mmcv
import numpy as np
import torch
from mmengine import Config, DictAction
from mmengine.registry import init_default_scope
from mmseg.apis import inference_model, init_model
from mmseg.registry import DATASETS

from fastsegformer_mm.visualization import overlay_sheet, pick_samples

SUFFIXES = {'.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp'}
LOADERS = ('LoadImageFromFile', 'LoadAnnotations')
# reading every label of a large set would take longer than the sheet is worth
MOST_LABELS = 300


def parse_args():
    parser = argparse.ArgumentParser(
        description='Draw image, label and prediction of some samples side by side, '
        'with a legend. Samples of a split are chosen so that every class is shown.'
    )
    parser.add_argument('config', help='config file of the network')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--out', type=Path, required=True, help='picture to write, .png or .jpg'
    )
    parser.add_argument(
        '--num', type=int, default=6, help='samples at most (default: 6)'
    )
    parser.add_argument(
        '--split',
        choices=('train', 'val', 'test'),
        default='test',
        help="which of the config's sets to show (default: test)",
    )
    parser.add_argument(
        '--images',
        nargs='+',
        type=Path,
        help='show these files, or the images of these folders, without labels',
    )
    parser.add_argument(
        '--tile',
        type=int,
        default=224,
        help='longer side of a picture on the sheet in pixels (default: 224)',
    )
    parser.add_argument(
        '--device',
        default='cuda:0' if torch.cuda.is_available() else 'cpu',
        help='default: cuda:0 if there is one, else cpu',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='settings to override in the config, as key=value',
    )
    args = parser.parse_args()
    if args.num < 1:
        parser.error(f'--num is {args.num}: expected 1 or more')
    if args.tile < 64:
        parser.error(f'--tile is {args.tile}: expected 64 or more')
    if args.out.suffix.lower() not in ('.png', '.jpg', '.jpeg'):
        parser.error(f'--out is {args.out}: expected a name ending in .png or .jpg')
    return args


def dataset_config(cfg, split):
    """The config of a split's dataset, out of its wrappers."""
    loader = cfg.get(f'{split}_dataloader')
    if not loader:
        sys.exit(
            f'error: {cfg.filename} has no {split}_dataloader; choose another '
            '--split, or give --images'
        )
    dataset = loader['dataset']
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    return dataset.copy()


def class_meta(cfg, split, model):
    """Names and colours of the classes: the config's dataset, else the checkpoint."""
    if cfg.get(f'{split}_dataloader'):
        meta = DATASETS.build(
            dict(dataset_config(cfg, split), lazy_init=True, pipeline=[])
        ).metainfo
        if meta.get('classes') and meta.get('palette'):
            return meta['classes'], meta['palette']
    return model.dataset_meta['classes'], model.dataset_meta['palette']


def samples_of_split(cfg, split, num):
    """Path, image and label of samples that show every class."""
    config = dataset_config(cfg, split)
    config['pipeline'] = [
        step for step in config['pipeline'] if step['type'] in LOADERS
    ]
    dataset = DATASETS.build(config)
    classes = len(dataset.metainfo['classes'])
    step = max(-(-len(dataset) // MOST_LABELS), 1)
    candidates = range(0, len(dataset), step)
    counts = []
    for k in candidates:
        label = dataset[k]['gt_seg_map']
        counts.append(np.bincount(label[label < classes], minlength=classes))
    background = [str(n).lower() for n in dataset.metainfo['classes']]
    background = background.index('background') if 'background' in background else None
    found = [dataset[candidates[k]] for k in pick_samples(counts, num, background)]
    return [(Path(s['img_path']), s['img'][..., ::-1], s['gt_seg_map']) for s in found]


def samples_of_paths(paths, num):
    """Path and image of files and of the images in folders."""
    files = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
            if not inside:
                known = ', '.join(sorted(SUFFIXES))
                sys.exit(f'error: {path} holds no images ({known})')
            files += inside
        elif path.is_file():
            files.append(path)
        else:
            sys.exit(f'error: {path}: no such file or folder')
    if len(files) > num:
        print(f'{len(files)} images, the first {num} are shown; --num shows more')
    return [
        (path, mmcv.imread(str(path), channel_order='rgb'), None)
        for path in files[:num]
    ]


def main():
    args = parse_args()
    for path in (args.config, args.checkpoint):
        if not Path(path).is_file():
            sys.exit(f'error: {path}: no such file')
    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    if args.images:
        samples = samples_of_paths(args.images, args.num)
    else:
        samples = samples_of_split(cfg, args.split, args.num)
    model = init_model(cfg, args.checkpoint, device=args.device)
    classes, palette = class_meta(cfg, args.split, model)
    paths, images, labels = zip(*samples)
    predictions = [
        inference_model(model, str(path)).pred_sem_seg.data[0].cpu().numpy()
        for path in paths
    ]
    sheet = overlay_sheet(
        images,
        labels,
        predictions,
        classes,
        palette,
        names=[path.stem for path in paths],
        tile=args.tile,
        title=Path(args.config).stem,
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    mmcv.imwrite(sheet[..., ::-1], str(args.out))
    print(f'overlay sheet of {len(paths)} images: {args.out.resolve()}')


if __name__ == '__main__':
    main()
