"""MMSegmentation's own test.py, with its options, on configs of this package."""

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.visualization import Visualizer
from mmseg.registry import DATASETS, MODELS
from mmseg.visualization import SegLocalVisualizer
from PIL import Image

ROOT = Path(__file__).parents[2]
cases = SimpleNamespace(**runpy.run_path(str(ROOT / 'tests/deploy/segmentor_cases.py')))
SHAPES = ((40, 56), (48, 32))
CLASSES = ('sound', 'scratch', 'spot')
PALETTE = [[0, 0, 0], [128, 0, 0], [0, 128, 0]]


def config_text(folder, **options):
    """A config on our runtime, with two labelled images below ``folder``."""
    cfg = dict(
        _base_=[str(ROOT / 'configs/_base_/default_runtime.py')],
        model=dict(
            type='EncoderDecoder',
            data_preprocessor=dict(
                type='SegDataPreProcessor',
                mean=[120.0] * 3,
                std=[60.0] * 3,
                bgr_to_rgb=True,
                size=None,
                pad_val=0,
                seg_pad_val=255,
            ),
            backbone=dict(
                type='ResNetV1c', depth=18, base_channels=4, norm_cfg=dict(type='BN')
            ),
            decode_head=dict(
                type='FCNHead',
                in_channels=32,
                channels=8,
                num_convs=1,
                num_classes=3,
                norm_cfg=dict(type='BN'),
                align_corners=False,
            ),
            test_cfg=dict(mode='whole'),
        ),
        test_dataloader=dict(
            batch_size=1,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(
                type='BaseSegDataset',
                data_root=str(folder),
                data_prefix=dict(img_path='images', seg_map_path='labels'),
                img_suffix='.png',
                metainfo=dict(classes=CLASSES, palette=PALETTE),
                reduce_zero_label=False,
                pipeline=[
                    dict(type='LoadImageFromFile'),
                    dict(type='LoadAnnotations'),
                    dict(type='PackSegInputs'),
                ],
            ),
        ),
        test_evaluator=dict(type='DefectIoUMetric'),
        test_cfg=dict(type='TestLoop'),
        tta_pipeline=[
            dict(type='LoadImageFromFile'),
            dict(
                type='TestTimeAug',
                transforms=[
                    [
                        dict(type='RandomFlip', prob=0.0),
                        dict(type='RandomFlip', prob=1.0),
                    ],
                    [dict(type='LoadAnnotations')],
                    [dict(type='PackSegInputs')],
                ],
            ),
        ],
    )
    cfg = Config(cfg)
    cfg.merge_from_dict(options)
    return cfg.pretty_text


@pytest.fixture
def files(tmp_path):
    """(folder, function that writes a config and a checkpoint, both named)."""
    rng = np.random.default_rng(0)
    for folder in ('images', 'labels'):
        (tmp_path / folder).mkdir()
    for index, shape in enumerate(SHAPES):
        image = cases.frame(*shape, index)
        cv2.imwrite(str(tmp_path / f'images/{index}.png'), image)

    def write(first=0, **options):
        """``first``: value of the first class in the labels."""
        for index, shape in enumerate(SHAPES):
            classes = 2 if 'model.decode_head.out_channels' in options else 3
            label = rng.integers(first, first + classes, shape, np.uint8)
            cv2.imwrite(str(tmp_path / f'labels/{index}.png'), label)
        config = tmp_path / 'my.py'
        config.write_text(config_text(tmp_path, **options))
        cfg = Config.fromfile(config)
        init_default_scope('mmseg')
        # with these weights it finds several classes in each image
        model = cases.as_trained(MODELS.build(cfg.model), seed=3)
        torch.nn.init.zeros_(model.decode_head.conv_seg.bias)
        checkpoint = tmp_path / 'my.pth'
        torch.save(dict(state_dict=model.state_dict(), meta={}), checkpoint)
        return config, checkpoint

    return tmp_path, write


def run(monkeypatch, folder, *arguments):
    """test.py, as a user calls it; its work dir is ``folder / 'work'``."""
    command = ['test.py', *arguments, '--work-dir', folder / 'work']
    monkeypatch.setattr(sys, 'argv', [str(word) for word in command])
    # as in a new process: the first visualizer of a name would stay
    for kind in (Visualizer, SegLocalVisualizer):
        monkeypatch.setattr(kind, '_instance_dict', {})
    try:
        runpy.run_path(str(ROOT / 'tools/test.py'), run_name='__main__')
    except SystemExit as end:
        if end.code:
            raise


def predictions(config, checkpoint, tta=False):
    """{stem: (H, W)} of the network itself."""
    cfg = Config.fromfile(config)
    if tta:
        cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
        cfg.model = dict(cfg.tta_model, module=cfg.model)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    model = MODELS.build(cfg.model).eval()
    network = model.module if tta else model
    network.load_state_dict(torch.load(checkpoint)['state_dict'])
    found = {}
    with torch.no_grad():
        for item in dataset:
            (sample,) = model.test_step(pseudo_collate([item]))
            mask = sample.pred_sem_seg.data.squeeze().numpy()
            found[Path(sample.img_path).stem] = mask.astype(np.uint8)
    return found


def saved(folder):
    return {path.stem: np.array(Image.open(path)) for path in folder.glob('*.png')}


@pytest.mark.parametrize('reduced', [False, True])
@pytest.mark.parametrize('tta', [False, True])
def test_out(files, monkeypatch, reduced, tta):
    """The files are the predictions, one more where 0 is no class in the labels."""
    folder, write = files
    options = {'test_dataloader.dataset.reduce_zero_label': reduced}
    config, checkpoint = write(int(reduced), **options)
    run(
        monkeypatch, folder, config, checkpoint, '--out', folder / 'out',
        *(['--tta'] if tta else []))
    found, expected = saved(folder / 'out'), predictions(config, checkpoint, tta)
    assert found.keys() == expected.keys() == {'0', '1'}
    for name, mask in expected.items():
        assert len(np.unique(mask)) > 1
        np.testing.assert_array_equal(found[name], mask + reduced)
    # the figures come as well
    (report,) = (folder / 'work').glob('*/evaluation/metrics.json')
    assert report.is_file()


def test_out_of_one_channel(files, monkeypatch):
    folder, write = files
    config, checkpoint = write(**{
        'model.decode_head.num_classes': 2,
        'model.decode_head.out_channels': 1,
        'model.decode_head.threshold': 0.4,
        'model.decode_head.loss_decode.type': 'CrossEntropyLoss',
        'model.decode_head.loss_decode.use_sigmoid': True,
        'test_dataloader.dataset.metainfo.classes': CLASSES[:2],
        'test_dataloader.dataset.metainfo.palette': PALETTE[:2],
        'test_evaluator.format_only': True,
    })
    run(monkeypatch, folder, config, checkpoint, '--out', folder / 'out')
    found, expected = saved(folder / 'out'), predictions(config, checkpoint)
    assert set(np.unique(found['0'])) == {0, 1}
    for name, mask in expected.items():
        np.testing.assert_array_equal(found[name], mask)


def test_show_dir(files, monkeypatch):
    """Each image beside its label and its prediction."""
    folder, write = files
    # upstream draws every 50th image otherwise
    config, checkpoint = write(**{'default_hooks.visualization.interval': 1})
    run(monkeypatch, folder, config, checkpoint, '--show-dir', folder / 'painted')
    pictures = sorted((folder / 'painted').rglob('*.png'))
    assert [Image.open(path).size for path in pictures] == [
        (2 * width, height) for height, width in SHAPES]
