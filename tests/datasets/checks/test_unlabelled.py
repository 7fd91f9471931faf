"""The check of a set of which some images are meant to have no label."""

import json
import runpy
import shutil
from pathlib import Path

import pytest
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from rich.console import Console
from torch import nn

from fastsegformer_mm.datasets.checks import check_dataset
from fastsegformer_mm.datasets.checks.console import print_report, write_json
from fastsegformer_mm.datasets.checks.html_report import write_html
from fastsegformer_mm.datasets.checks.html_report_words import KINDS
from fastsegformer_mm.datasets.checks.settings import model_settings
from fastsegformer_mm.datasets.checks.sources import find_sources
from fastsegformer_mm.datasets.checks.unlabelled import check_unlabelled

tiny = runpy.run_path(str(Path(__file__).with_name('tiny_set.py')))
config, make, photo = tiny['config'], tiny['make'], tiny['photo']
LOSS = 'model.decode_head.loss_decode'


def partly(root, count=3, unlabelled=None, **sampler):
    """The training by epochs of a real config, partly labelled."""
    make(root)
    (root / 'photos').mkdir()
    for k in range(count):
        photo(f'photo{k}').save(root / f'photos/{k}.jpg')
    cfg = config(root)
    labelled = cfg.train_dataloader.dataset.to_dict()
    cfg.train_dataloader.dataset = dict(
        type='PartlyLabelledDataset', labelled=labelled, unlabelled=unlabelled or dict(
            type='UnlabelledDataset', data_root=str(root),
            data_prefix=dict(img_path='photos'), pipeline=labelled['pipeline']))
    cfg.train_dataloader.sampler = dict(
        dict(type='PartlyLabelledSampler', batch_size=32, labelled=16, endless=False),
        **sampler)
    cfg.model.decode_head.loss_decode.avg_non_ignore = True
    return cfg


def problems_of(cfg):
    """What is said of the training's options alone."""
    init_default_scope('mmseg')
    sources, _ = find_sources(cfg, 'train')
    return [*check_unlabelled(cfg, sources, model_settings(cfg))]


def brief(report):
    return [(p.kind, p.severity, p.split, p.file, p.value) for p in report.problems]


def test_sound(tmp_path):
    report = check_dataset(partly(tmp_path))
    assert brief(report) == []
    train = report.splits['train']
    assert (train.images, train.unlabelled, train.labels, train.pairs) == (5, 3, 2, 2)
    assert train.checked == 5
    # of the labels alone: two of four stripes
    assert train.class_pixels.tolist() == [2 * 24 * 8] * 4
    assert train.ignored_pixels == 0
    assert len(train.samples) == 2
    assert report.splits['val'].unlabelled == 0


def test_a_sample_has_some_of_both(tmp_path):
    report = check_dataset(partly(tmp_path, count=8), ['train'], sample=2)
    assert report.splits['train'].checked == 4
    assert report.splits['train'].class_images.tolist() == [2] * 4


def test_reports_know_which_images_are_which(tmp_path):
    report = check_dataset(partly(tmp_path))
    console = Console(record=True, width=120)
    print_report(report, console=console)
    rows = {row.split('│')[1].strip(): row for row in console.export_text().split('\n')
            if row.count('│') > 2}
    assert rows['unlabelled'].split('│')[2].strip() == '3'
    content = json.loads(write_json(report, tmp_path / 'x.json').read_text())
    assert content['splits']['train']['unlabelled'] == 3
    page = write_html(report, tmp_path / 'x.html').read_text()
    assert '5, 3 without labels' in page
    # nothing of it where there are none
    report = check_dataset(partly(tmp_path / 'other'), ['val'])
    print_report(report, console=console)
    assert '│ unlabelled' not in console.export_text()
    assert 'without labels' not in write_html(report, tmp_path / 'y.html').read_text()


def test_images_are_looked_at(tmp_path):
    cfg = partly(tmp_path)
    (tmp_path / 'photos/1.jpg').write_bytes(b'no picture')
    [problem] = check_dataset(cfg).problems
    assert (problem.kind, problem.file) == (
        'undecodable-file', str(tmp_path / 'photos/1.jpg'))
    shutil.rmtree(tmp_path / 'photos')
    [problem] = check_dataset(cfg).problems
    assert (problem.kind, problem.file) == (
        'folder-missing', str(tmp_path / 'photos'))
    assert 'train_dataloader.dataset.unlabelled.data_root' in problem.way_out


def test_a_training_image_of_the_test_set_is_still_told(tmp_path):
    cfg = partly(tmp_path)
    shutil.copy(tmp_path / 'images/test/test0.jpg', tmp_path / 'photos/9.jpg')
    [problem] = check_dataset(cfg).problems
    assert problem.kind == 'train-test-duplicate'


def test_labels_that_are_ignored_are_not_looked_at(tmp_path):
    """Nor their classes, which may be those of another set."""
    inner = dict(
        type='NavelOrangeDataset', data_root=str(tmp_path / 'voc'),
        metainfo=dict(classes=('a', 'b', 'c', 'd', 'e', 'f')),
        ann_file='ImageSets/Segmentation/train.txt', pipeline=[
            dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
            dict(type='RandomRotate', prob=1, degree=45, seg_pad_val=5),
            dict(type='PackSegInputs')])
    make(tmp_path / 'voc', 'voc')
    shutil.rmtree(tmp_path / 'voc/SegmentationClass')
    cfg = partly(tmp_path, unlabelled=dict(type='UnlabelledDataset', dataset=inner))
    report = check_dataset(cfg, ['train'])
    assert brief(report) == [('duplicate', 'warning', 'train', str(
        tmp_path / f'voc/JPEGImages/train{k}.jpg'), 'the same picture as ' + str(
        tmp_path / f'images/train/train{k}.jpg')) for k in (0, 1)]
    assert report.splits['train'].unlabelled == 2
    assert len(report.splits['train'].classes) == 4


def test_several_folders(tmp_path):
    cfg = partly(tmp_path)
    one = cfg.train_dataloader.dataset.unlabelled
    two = dict(one, data_prefix=dict(img_path='images/val'))
    cfg.train_dataloader.dataset.unlabelled = dict(
        type='ConcatDataset', datasets=[one, two])
    assert check_dataset(cfg, ['train']).splits['train'].unlabelled == 5


def test_scores_need_labels(tmp_path):
    cfg = partly(tmp_path)
    cfg.val_dataloader.dataset = cfg.train_dataloader.dataset.unlabelled
    assert brief(check_dataset(cfg, ['val'])) == [(
        'unlabelled-scored', 'error', 'val', 'val_dataloader.dataset',
        'an UnlabelledDataset')]


def test_another_sampler(tmp_path):
    cfg = partly(tmp_path)
    cfg.train_dataloader.sampler = dict(type='InfiniteSampler')
    [problem] = problems_of(cfg)
    assert str(problem) == (
        'train: sampler: train_dataloader.sampler.type: InfiniteSampler, expected '
        'PartlyLabelledSampler, which states how many images of a batch are labelled; '
        'chance decides otherwise, and a batch may have no label at all: set '
        "train_dataloader.sampler=dict(_delete_=True, type='PartlyLabelledSampler', "
        'batch_size=32, labelled=...)')
    assert problem.severity == 'warning'


def test_batch_size_of_the_loader(tmp_path):
    cfg = partly(tmp_path, batch_size=8, labelled=4)
    [problem] = problems_of(cfg)
    assert str(problem) == (
        'train: sampler: train_dataloader.sampler.batch_size: 8, expected 32, '
        'train_dataloader.batch_size; set both to one number, else batches have other '
        'shares than stated')
    assert problem.severity == 'error'


@pytest.mark.parametrize(('loop', 'endless', 'wrong'), [
    (dict(by_epoch=True, max_epochs=9), True, True),
    (dict(by_epoch=True, max_epochs=9), False, False),
    (dict(type='EpochBasedTrainLoop', max_epochs=9), True, True),
    (dict(by_epoch=False, max_iters=9), True, False),
    (dict(type='IterBasedTrainLoop', max_iters=9), True, False),
    (dict(type='IterBasedTrainLoop', max_iters=9), False, False)])
def test_loop(tmp_path, loop, endless, wrong):
    cfg = partly(tmp_path, endless=endless)
    cfg.train_cfg = loop
    found = problems_of(cfg)
    assert [(p.kind, p.severity, p.file) for p in found] == [
        ('sampler', 'error', 'train_dataloader.sampler.endless')] * wrong


@MODELS.register_module(force=True)
class Everywhere(nn.Module):
    """A loss that does not look at the labels."""

    def forward(self, logits, labels, **kwargs):
        return logits.square().mean()


CE = 'CrossEntropyLoss'
AVERAGES = 'averages over unlabelled images, too: with one of two in a batch it is'


@pytest.mark.parametrize(('loss', 'severity', 'value', 'way_out'), [
    (dict(type=CE, avg_non_ignore=True), '', '', ''),
    (dict(type=CE), 'error', AVERAGES, f'set {LOSS}.avg_non_ignore=True'),
    (dict(type=CE, use_sigmoid=True), 'error', AVERAGES,
     f'set {LOSS}.avg_non_ignore=True'),
    (dict(type=CE, use_sigmoid=True, avg_non_ignore=True), '', '', ''),
    (dict(type='OhemCrossEntropy', min_kept=9), '', '', ''),
    (dict(type='LovaszLoss', reduction='none'), '', '', ''),
    (dict(type='LovaszLoss', per_image=True), 'error', 'fails: RuntimeError: stack',
     'take another loss'),
    (dict(type='DiceLoss'), 'warning', AVERAGES,
     f'raise {LOSS}.loss_weight by that factor, or leave it'),
    (dict(type='TverskyLoss'), 'warning', AVERAGES,
     f'raise {LOSS}.loss_weight by that factor, or leave it'),
    (dict(type='Everywhere'), 'error', 'learns from pixels without a label',
     'take another loss'),
    # said by building the model
    (dict(type='NoSuchLoss'), '', '', '')])
def test_losses(tmp_path, loss, severity, value, way_out):
    cfg = partly(tmp_path)
    cfg.model.decode_head.loss_decode = loss
    found = problems_of(cfg)
    assert [(p.kind, p.severity, p.file) for p in found] == [
        ('loss-of-unlabelled', severity, LOSS)] * bool(severity)
    for problem in found:
        assert problem.value.startswith(f'{loss["type"]} {value}')
        assert problem.way_out == way_out


def test_the_value_of_a_mean_over_all_pixels(tmp_path):
    """One of two images: half."""
    cfg = partly(tmp_path)
    cfg.model.decode_head.loss_decode.avg_non_ignore = False
    [problem] = problems_of(cfg)
    half, whole = map(float, problem.value.split(' it is ')[1].split(' in place of '))
    assert half == pytest.approx(whole / 2, rel=1e-3)


def test_losses_of_all_heads(tmp_path):
    """In a distillation the student's, of which there may be several a head."""
    cfg = partly(tmp_path)
    head = cfg.model.decode_head
    head.loss_decode = [head.loss_decode, dict(type=CE, loss_weight=0.4)]
    cfg.model.auxiliary_head = [
        dict(type='FCNHead', num_classes=4),
        dict(type='STDCHead', num_classes=2, loss_decode=dict(
            type=CE, avg_non_ignore=True))]
    cfg.model = dict(type='MultiResolutionDistill', architecture=cfg.model)
    place = 'model.architecture'
    assert [(p.file, p.severity) for p in problems_of(cfg)] == [
        (f'{place}.auxiliary_head[1]', 'error'),
        (f'{place}.decode_head.loss_decode[1]', 'error'),
        (f'{place}.auxiliary_head[0].loss_decode', 'error')]


def test_all_labelled_losses_are_not_looked_at(tmp_path):
    make(tmp_path)
    cfg = config(tmp_path)
    assert 'avg_non_ignore' not in cfg.model.decode_head.loss_decode
    assert check_dataset(cfg).problems == []


def test_kinds_are_explained():
    assert {'unlabelled-scored', 'sampler', 'loss-of-unlabelled'} <= set(KINDS)


def test_student_of_another_config_file(tmp_path):
    cfg = partly(tmp_path)
    (tmp_path / 'student.py').write_text(
        "model = dict(decode_head=dict(num_classes=4, loss_decode=dict(type='DiceLoss')))")
    cfg.model = dict(
        type='MultiResolutionDistill', architecture=str(tmp_path / 'student.py'))
    [problem] = problems_of(cfg)
    assert problem.file == 'model.architecture.decode_head.loss_decode'
