"""Draw image, label and prediction of some samples side by side.

An image or label that cannot be read is named and left out. Exit code 0: all could be
read; 1: some could not; or nothing was drawn.

Examples:
    fastsegformer overlay-sheet CONFIG CHECKPOINT --out sheet.png
    fastsegformer overlay-sheet CONFIG CHECKPOINT --out sheet.png \
        --images photo.jpg folder/of/photos
"""

import argparse
import sys
from pathlib import Path

from fastsegformer_cli.options import add_config_options, config_options, find_config
from fastsegformer_cli.quiet import quiet
from fastsegformer_cli.signals import run_tool

SUFFIXES = {'.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp'}
LOADERS = ('LoadImageFromFile', 'LoadAnnotations')
# reading every label of a large set would take longer than the sheet is worth
MOST_LABELS = 300


def parse_args():
    parser = argparse.ArgumentParser(
        description='Draw image, label and prediction of some samples side by side, '
        'with a legend. Samples of a split are chosen so that every class is shown.'
    )
    parser.add_argument('config', type=find_config, help='config file of the network')
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
    parser.add_argument('--device', help='default: cuda:0 if there is one, else cpu')
    add_config_options(parser)
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
    while 'dataset' in dataset or 'labelled' in dataset:
        dataset = dataset.get('labelled') or dataset['dataset']
    return dataset.copy()


def class_meta(cfg, split, model):
    """Metainfo with classes and palette: the config's dataset, else the checkpoint."""
    from mmseg.registry import DATASETS

    if cfg.get(f'{split}_dataloader'):
        meta = DATASETS.build(
            dict(dataset_config(cfg, split), lazy_init=True, pipeline=[])
        ).metainfo
        if meta.get('classes') and meta.get('palette'):
            return meta
    return model.dataset_meta


def samples_of_split(cfg, split, num):
    """Samples that show every class, and what is wrong with others.

    Returns:
        tuple[list, list[str]]: Path, image (RGB) and label of each sample; a line a
        sample that cannot be read.
    """
    import numpy as np
    from mmseg.registry import DATASETS

    from fastsegformer_mm.utils.background import background_of
    from fastsegformer_mm.visualization import pick_samples

    config = dataset_config(cfg, split)
    config['pipeline'] = [
        step for step in config['pipeline'] if step['type'] in LOADERS
    ]
    dataset = DATASETS.build(config)
    meta = dataset.metainfo
    classes = len(meta['classes'])
    step = max(-(-len(dataset) // MOST_LABELS), 1)
    readable, counts, failures = [], [], []
    for k in range(0, len(dataset), step):
        try:
            label = dataset[k]['gt_seg_map']
            if label.ndim != 2:
                raise ValueError(f'its label has the shape {label.shape}, expected '
                                 '(height, width)')
        except Exception as error:
            # whatever a backend raises on a broken file
            failures.append(f'{dataset.get_data_info(k)["img_path"]}: {error}')
            continue
        readable.append(k)
        counts.append(np.bincount(label[label < classes], minlength=classes))
    chosen = pick_samples(counts, num, background_of(meta)) if counts else []
    found = [dataset[readable[k]] for k in chosen]
    return [(Path(s['img_path']), s['img'][..., ::-1], s['gt_seg_map'])
            for s in found], failures


def samples_of_paths(paths, num):
    """Path and image of files and of the images in folders, and what is unreadable."""
    import mmcv

    files = []
    for path in paths:
        if path.is_dir():
            try:
                inside = sorted(
                    p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
            except OSError as error:
                sys.exit(f'error: {path} cannot be read: {error.strerror}')
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
    samples, failures = [], []
    for path in files[:num]:
        try:
            image = mmcv.imread(str(path), channel_order='rgb')
            if image is None:
                raise ValueError('cannot be decoded')
            samples.append((path, image, None))
        except Exception as error:
            failures.append(f'{path}: {error}')
    return samples, failures


def main():
    args = parse_args()
    for path in (args.config, args.checkpoint):
        if not Path(path).is_file():
            sys.exit(f'error: {path}: no such file')
    quiet()
    # with it init_model reads the checkpoint safely; with mmcv-lite it comes first
    import robust_training  # noqa: F401

    # isort: split
    import mmcv
    import torch
    from mmengine import Config
    from mmengine.registry import init_default_scope
    from mmseg.apis import inference_model, init_model

    from fastsegformer_mm.utils.background import background_of
    from fastsegformer_mm.utils.names import escaped
    from fastsegformer_mm.visualization import overlay_sheet

    device = args.device or ('cuda:0' if torch.cuda.is_available() else 'cpu')
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(config_options(args.cfg_options) or {})
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    if args.images:
        samples, failures = samples_of_paths(args.images, args.num)
    else:
        samples, failures = samples_of_split(cfg, args.split, args.num)
    model = init_model(cfg, args.checkpoint, device=device)
    meta = class_meta(cfg, args.split, model)
    drawn, predictions = [], []
    for sample in samples:
        try:
            result = inference_model(model, str(sample[0]))
        except Exception as error:
            # one image must not cost the others
            failures.append(f'{sample[0]}: {error}')
        else:
            drawn.append(sample)
            predictions.append(result.pred_sem_seg.data[0].cpu().numpy())
    lines = [escaped(' '.join(failure.split())) for failure in failures]
    if not drawn:
        sys.exit(f'error: nothing to draw: {lines[0] if lines else "no samples"}')
    paths, images, labels = zip(*drawn)
    sheet = overlay_sheet(
        images,
        labels,
        predictions,
        meta['classes'],
        meta['palette'],
        names=[path.stem for path in paths],
        tile=args.tile,
        title=Path(args.config).stem,
        background=background_of(meta),
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    mmcv.imwrite(sheet[..., ::-1], str(args.out))
    print(f'overlay sheet of {len(paths)} images: {args.out.resolve()}')
    for line in lines:
        print(f'not drawn: {line}', file=sys.stderr)
    return 1 if lines else 0


if __name__ == '__main__':
    sys.exit(run_tool(main))
