"""What tests of configs share: made-up data, no network, one step, one prediction.

Test files read it by runpy, those of `projects/` too.
"""

import copy
import socket
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, HOOKS, MODELS, init_default_scope
from mmengine.utils import import_modules_from_strings

# fills the registries for tests that read a config without its custom_imports
import_modules_from_strings('fastsegformer_mm')

ROOT = Path(__file__).resolve().parents[1]
IMAGE_SHAPES = [(60, 48), (40, 70)]


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No test of a config may reach for the network."""
    def refuse(self, address):
        raise AssertionError(f'a config test tried to connect to {address}')

    monkeypatch.setattr(socket.socket, 'connect', refuse)
    init_default_scope('mmseg')
    # inputs this small gain nothing from threads, and lose where CPUs are shared
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def write_data(root, shapes=IMAGE_SHAPES):
    """Fill a folder with tiny sets in the layouts of VOC, NEU-Seg and Cityscapes.

    One image of noise for each of ``shapes`` in every split. ``voc`` and ``neu``
    have 4 classes, ``city`` too, ``mine`` has 2.
    """
    rng = np.random.default_rng(0)

    def write(image_path, label_path, classes=4):
        image_path, label_path = root / image_path, root / label_path
        for i, (height, width) in enumerate(shapes):
            image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            label = np.zeros((height, width), np.uint8)
            for c in range(1, classes):
                label[10 * c - 5:10 * c, 5:35] = c
            for path, array in ((image_path, image), (label_path, label)):
                path.parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(path).format(i), array)

    for split in ('train', 'val', 'test'):
        for name, classes in (('voc', 4), ('mine', 2)):
            write(f'{name}/JPEGImages/{{}}.jpg', f'{name}/SegmentationClass/{{}}.png',
                  classes)
            names = root / f'{name}/ImageSets/Segmentation/{split}.txt'
            names.parent.mkdir(parents=True, exist_ok=True)
            names.write_text(''.join(f'{i}\n' for i in range(len(shapes))))
        write(f'neu/images/{split}/{{}}.jpg', f'neu/annotations/{split}/{{}}.png')
        write(f'city/leftImg8bit/{split}/a/{{}}_leftImg8bit.png',
              f'city/gtFine/{split}/a/{{}}_gtFine_labelTrainIds.png')
    write('mine/Unlabelled/line/{}.jpg', 'unused/{}.png')
    # the labels of SBD, of images of their own
    write('voc/JPEGImages/sbd{}.jpg', 'voc/SegmentationClassAug/sbd{}.png')
    (root / 'voc/ImageSets/Segmentation/aug.txt').write_text(
        ''.join(f'sbd{i}\n' for i in range(len(shapes))))
    return root


def data_sets(loader):
    """The data sets of a loader; of one that joins several those."""
    dataset = loader.dataset
    if 'unlabelled' in dataset:
        return [dataset.labelled, dataset.unlabelled]
    return dataset.get('datasets') or [dataset]


def read(path, data):
    """A config with its data sets put in the made-up folder, and no downloads."""
    cfg = Config.fromfile(path)
    layouts = dict(
        NEUSegDataset='neu', CityscapesDataset='city', BaseSegDataset='mine',
        UnlabelledDataset='mine')
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.num_workers, loader.persistent_workers = 0, False
        for dataset in data_sets(loader):
            dataset.data_root = str(data / layouts.get(dataset.type, 'voc'))
            # it collects garbage twice, which takes longer than all else here
            dataset.serialize_data = False
    if 'model' in cfg:
        remove_pretrained(cfg.model)
    return cfg


def remove_pretrained(node):
    if isinstance(node, dict):
        node.pop('pretrained', None)
        if (node.get('init_cfg') or {}).get('type') == 'Pretrained':
            node.pop('init_cfg')
    for child in node.values() if isinstance(node, dict) else node:
        if isinstance(child, (dict, list, tuple)):
            remove_pretrained(child)


def shrink(cfg, side=64):
    """Let the pipelines of all splits make inputs of ``side`` pixels."""
    for split in ('train', 'val', 'test'):
        for dataset in data_sets(cfg[f'{split}_dataloader']):
            for transform in dataset.pipeline:
                if transform.type in ('RandomScalePaste', 'LetterBox'):
                    transform.size = (side, side)
                elif transform.type == 'RandomCrop':
                    transform.crop_size = (side, side)
                elif transform.type in ('Resize', 'RandomResize'):
                    transform.scale = (side, side)
                if transform.type == 'RandomResize':
                    # both halved, a batch would be padded to half the side
                    low, high = transform.ratio_range
                    transform.ratio_range = (max(low, 0.75), high)


def depth(path):
    """Levels of inheritance of a config file, 1 for one without bases."""
    bases = Config._get_base_files(str(path))
    return 1 + max((depth(Path(path).parent / base) for base in bases), default=0)


def build(cfg):
    """The model of a config; of a distillation, with a random teacher."""
    model = copy.deepcopy(cfg.model)
    if 'teacher' in model:
        teacher = Config.fromfile(model.teacher).model
        remove_pretrained(teacher)
        model.teacher = {'_scope_': 'mmseg', **teacher}
        model.update(teacher_ckpt=None, allow_random_teacher=True)
    torch.manual_seed(0)
    return MODELS.build(model)


def learn(cfg, model, images=2):
    """One training step on the training data of a config.

    Returns:
        SimpleNamespace: ``losses`` {name: float}; ``unused`` and ``moved``, the
        names of the parameters without a gradient and with another value than
        before; ``pairs``, {loss: shapes of its arguments} of a distillation;
        ``batch``, what the data preprocessor has made.
    """
    train_set = DATASETS.build(cfg.train_dataloader.dataset)
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    before = {k: v.detach().clone() for k, v in model.named_parameters()}
    pairs = {}
    if hasattr(model, 'distiller'):
        for name, loss in model.distiller.distill_losses.items():
            loss.register_forward_pre_hook(
                lambda _, args, kwargs, name=name: pairs.update(
                    {name: {k: getattr(v, 'shape', None) for k, v in kwargs.items()}}),
                with_kwargs=True)
    model.train()
    batch = model.data_preprocessor(
        pseudo_collate([train_set[i] for i in range(images)]), training=True)
    total, logs = model.parse_losses(model(**batch, mode='loss'))
    optim_wrapper.backward(total)
    unused = [n for n, p in model.named_parameters()
              if p.requires_grad and p.grad is None]
    optim_wrapper.step()
    assert all(p.isfinite().all() for p in model.parameters())
    return SimpleNamespace(
        losses={k: float(v) for k, v in logs.items()}, unused=unused, pairs=pairs,
        batch=batch,
        moved={k for k, v in model.named_parameters() if not torch.equal(v, before[k])})


def predict(cfg, model, shapes=IMAGE_SHAPES):
    """Predictions for the test images, at the images' own sizes, and their scores."""
    test_set = DATASETS.build(cfg.test_dataloader.dataset)
    model.eval()
    with torch.no_grad():
        samples = [model.test_step(pseudo_collate([test_set[i]]))[0]
                   for i in range(len(shapes))]
    for sample, shape in zip(samples, shapes):
        assert sample.pred_sem_seg.data.shape == (1, *shape)
        assert sample.gt_sem_seg.data.shape == (1, *shape)
        assert sample.seg_logits.data.isfinite().all()
    evaluator = Evaluator(cfg.test_evaluator)
    evaluator.dataset_meta = test_set.metainfo
    evaluator.process(samples)
    metrics = evaluator.evaluate(len(samples))
    assert 0 <= metrics['mIoU'] <= 100
    return metrics


def check(path, data, side=64, shapes=IMAGE_SHAPES):
    """A config builds, learns one step, predicts and scores.

    Returns:
        SimpleNamespace: As :func:`learn`, and ``cfg`` and ``model``.
    """
    assert depth(path) <= 3
    cfg = read(path, data)
    shrink(cfg, side)
    model = build(cfg)
    step = learn(cfg, model)
    # several GPUs have to be told of parameters without gradient
    assert bool(step.unused) == cfg.get('find_unused_parameters', False), step.unused
    assert np.isfinite(step.losses['loss'])
    if 'teacher' in cfg.model:
        # every loss has got its pair, at one size of batch and channels
        assert set(step.pairs) == set(cfg.model.distiller.distill_losses)
        for name in step.pairs:
            assert step.losses[f'distill.{name}'] > 0, name
        # all connectors learn
        connectors = {n for n, _ in model.distiller.connectors.named_parameters()}
        assert {f'distiller.connectors.{n}' for n in connectors} <= step.moved
    predict(cfg, model, shapes)
    for hook in cfg.get('custom_hooks', []):
        HOOKS.build(hook)
    step.cfg, step.model = cfg, model
    return step
