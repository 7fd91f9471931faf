"""CutMix and ClassMix on made-up batches."""

import doctest
import importlib

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from fastsegformer_mm.distillation import DistillationError
from fastsegformer_mm.distillation.batch_augments import ClassMix, CutMix

SIZE = 20


def batch(labels, unlabelled=(), **maps):
    """Images whose pixels are their number, and their labels (N, H, W)."""
    labels = torch.as_tensor(labels)
    count, height, width = labels.shape
    images = torch.arange(count).view(-1, 1, 1, 1).repeat(1, 3, height, width).float()
    samples = []
    for k, label in enumerate(labels):
        sample = SegDataSample(metainfo=dict(
            img_path=f'{k}.png', labelled=k not in unlabelled))
        sample.gt_sem_seg = PixelData(data=label[None])
        for name, values in maps.items():
            sample.set_data({name: PixelData(data=values[k][None])})
        samples.append(sample)
    return images, samples


def numbered(count=4, size=SIZE, **kwargs):
    """Labels that say which image they are of, too."""
    return batch(torch.arange(count).view(-1, 1, 1).repeat(1, size, size), **kwargs)


def labels_of(samples, name='gt_sem_seg'):
    return torch.cat([s.get(name).data for s in samples])


def as_labels(images):
    return images[:, 0].long()


@pytest.mark.parametrize('area', [(0.25, 0.25), (0.1, 0.5), (1.0, 1.0)])
def test_cutmix_pastes_one_rectangle_into_image_and_label(area):
    torch.manual_seed(0)
    images, samples = numbered(size=40)
    mixed, changed = CutMix(area, prob=1)(images, samples)
    assert torch.equal(as_labels(mixed), labels_of(changed))
    assert torch.equal(mixed, mixed[:, :1].expand_as(mixed))
    rectangles = set()
    for k, label in enumerate(labels_of(changed)):
        rows, columns = (label != k).nonzero(as_tuple=True)
        box = [int(f(x)) for x in (rows, columns) for f in (torch.min, torch.max)]
        pixels = (box[1] - box[0] + 1) * (box[3] - box[2] + 1)
        assert len(rows) == pixels  # whole
        assert len(label[label != k].unique()) == 1  # of one other image
        assert area[0] - 0.04 <= pixels / 1600 <= area[1] + 0.04
        rectangles.add(tuple(box))
    assert len(rectangles) == (1 if area == (1.0, 1.0) else 4)


def test_areas_and_places_are_spread():
    torch.manual_seed(0)
    pasted = CutMix((0.2, 0.6)).regions(torch.empty(2000, 3, 50, 50), (), None, None)
    shares = pasted.flatten(1).float().mean(1)
    assert 0.18 < shares.min() < 0.23
    assert 0.57 < shares.max() < 0.62
    assert abs(shares.mean() - 0.4) < 0.01
    # nowhere always, nowhere never, the same to the left and to the right
    where = pasted.float().mean(0)
    assert 0 < where.min() < 0.1 < 0.5 < where.max() < 0.9
    assert torch.allclose(where, where.flip(0), atol=0.06)
    assert torch.allclose(where, where.flip(1), atol=0.06)
    # stripes as well as squares
    heights = pasted.any(2).sum(1) / 50
    assert heights.min() < 0.35
    assert heights.max() == 1


def test_what_is_given_is_left_alone():
    images, samples = numbered()
    CutMix((1, 1), prob=1)(images, samples)
    assert torch.equal(as_labels(images), labels_of(samples))
    assert [s.metainfo['img_path'] for s in samples] == [f'{k}.png' for k in range(4)]


def test_the_sample_stays_that_of_its_image():
    """All its maps are mixed; what else it has is its own."""
    depth = torch.arange(4.0).view(-1, 1, 1).repeat(1, SIZE, SIZE) / 2
    images, samples = numbered(gt_depth_map=depth, gt_edge_map=depth.long())
    for sample in samples:
        sample.set_metainfo(dict(img_shape=(SIZE, SIZE), flip=True))
    mixed, changed = CutMix(prob=1)(images, samples)
    assert torch.equal(labels_of(changed, 'gt_depth_map'), mixed[:, 0] / 2)
    assert torch.equal(labels_of(changed, 'gt_edge_map'), (mixed[:, 0] / 2).long())
    assert [s.metainfo for s in changed] == [s.metainfo for s in samples]
    assert changed[0].gt_depth_map.data.dtype == torch.float32


def partner_of(samples):
    return labels_of(samples)[:, 0, 0].tolist()


def test_partners_are_of_the_same_kind():
    """No label is lost to an image that has none, and each image is used once."""
    images, samples = numbered(7, unlabelled=(2, 3, 4, 6))
    rings = set()
    for _ in range(40):
        partner = partner_of(CutMix((1, 1), prob=1)(images, samples)[1])
        assert sorted(partner) == list(range(7))
        assert all(partner[k] != k for k in range(7))
        assert {partner[k] for k in (0, 1, 5)} == {0, 1, 5}
        rings.add(tuple(partner))
    assert len(rings) == 2 * 6  # rings of three, and of four


def test_across():
    images, samples = numbered(5, unlabelled=(1, 2, 3, 4))
    mix = CutMix((1, 1), prob=1, across=True)
    seen = {partner_of(mix(images, samples)[1])[0] for _ in range(60)}
    assert seen == {1, 2, 3, 4}
    alone = CutMix((1, 1), prob=1)(images, samples)[1]
    assert partner_of(alone)[0] == 0  # the only one with a label


def test_probability():
    images, samples = numbered(400, size=2)

    def share(prob):
        partner = partner_of(CutMix((1, 1), prob=prob)(images, samples)[1])
        return sum(k != other for k, other in enumerate(partner)) / 400

    assert share(0) == 0
    assert share(1) == 1
    assert 0.15 < share(0.25) < 0.35


@pytest.mark.parametrize('mix', [CutMix(), ClassMix(across=True)])
def test_random_numbers_are_those_of_torch(mix):
    images, samples = batch(torch.randint(4, (6, SIZE, SIZE)))
    torch.manual_seed(3)
    first, again = (mix(images, samples)[0] for _ in range(2))
    assert not torch.equal(first, again)
    torch.manual_seed(3)
    assert torch.equal(mix(images, samples)[0], first)


def test_padding_is_neither_pasted_nor_pasted_over():
    images, samples = numbered(2)
    samples[0].set_metainfo(dict(padding_size=(0, 8, 0, 0)))  # on the right
    samples[1].set_metainfo(dict(padding_size=(0, 0, 0, 5)))  # below
    mixed, changed = CutMix((1, 1), prob=1)(images, samples)
    for k in range(2):
        expected = torch.full((SIZE, SIZE), k)
        expected[:-5, :-8] = 1 - k
        assert torch.equal(as_labels(mixed)[k], expected)
        assert torch.equal(labels_of(changed)[k], expected)


def test_classmix_pastes_half_of_the_classes():
    row = [0, 0, 1, 2, 3, 255, 1]
    images, samples = batch([[row], [row]])
    seen = set()
    for _ in range(80):
        mixed, changed = ClassMix(prob=1)(images, samples)
        assert torch.equal(labels_of(changed), torch.tensor([[row], [row]]))
        pasted = as_labels(mixed)[0, 0] == 1
        found = {c for c, p in zip(row, pasted) if p}
        assert len(found) == 2
        assert all(p == (c in found) for c, p in zip(row, pasted))
        seen.add(frozenset(found))
    assert len(seen) == 6  # each pair of the four classes
    assert 255 not in frozenset.union(*seen)


def test_classmix_of_few_classes():
    """One of two or three; none where there is one."""
    for row, count in (([2] * 6, 0), ([0, 2] * 3, 1), ([0, 1, 2] * 2, 1)):
        images, samples = batch([[row], [row]])
        pasted = as_labels(ClassMix(prob=1)(images, samples)[0])[0, 0] == 1
        assert len({c for c, p in zip(row, pasted) if p}) == count


def test_classmix_takes_labels_along():
    images, samples = batch([[[0, 1, 1, 0]], [[2, 2, 3, 255]]])
    for _ in range(20):
        mixed, changed = ClassMix(prob=1)(images, samples)
        both = zip(as_labels(mixed)[0, 0].tolist(), labels_of(changed)[0, 0].tolist())
        assert [*both] in (
            [(1, 2), (1, 2), (0, 1), (0, 0)], [(0, 0), (0, 1), (1, 3), (0, 0)])


def test_classmix_asks_about_unlabelled_images_alone():
    images, samples = batch(
        [[[0, 1]], [[255, 255]], [[1, 0]], [[255, 255]]], unlabelled=(1, 3))
    asked = []

    def predict(inputs, data_samples):
        asked.append((inputs[:, 0, 0, 0].tolist(),
                      [s.metainfo['img_path'] for s in data_samples]))
        return torch.tensor([[[0, 1]], [[1, 0]]])

    mixed, changed = ClassMix(prob=1)(images, samples, predict)
    assert asked == [([1.0, 3.0], ['1.png', '3.png'])]
    # of two classes, one
    assert ((mixed[:, 0, 0] != images[:, 0, 0]).sum(1) == 1).all()
    assert (labels_of(changed)[[1, 3]] == 255).all()
    # nobody to ask: only what is labelled is pasted
    mixed, _ = ClassMix(prob=1)(images, samples)
    assert (mixed[:, 0, 0] != images[:, 0, 0]).sum(1).tolist() == [1, 0, 1, 0]
    # no question where all is labelled
    ClassMix(prob=1)(images[[0, 2]], samples[::2], predict)
    assert len(asked) == 1


def test_classmix_across_ignores_what_was_found():
    images, samples = batch([[[0, 0, 1, 1]], [[255] * 4]], unlabelled=(1,))
    predict = lambda *_: torch.tensor([[[0, 1, 0, 1]]])  # noqa: E731
    mixed, changed = ClassMix(prob=1, across=True)(images, samples, predict)
    pasted = as_labels(mixed)[0, 0] == 1
    assert pasted.tolist() in ([True, False] * 2, [False, True] * 2)
    expected = torch.tensor([0, 0, 1, 1]).masked_fill(pasted, 255)
    assert torch.equal(labels_of(changed)[0, 0], expected)


def test_classmix_of_another_ignored_value():
    images, samples = batch([[[0, 7, 1]], [[0, 7, 1]]])
    found = {as_labels(ClassMix(ignore_index=7, prob=1)(images, samples)[0])[0, 0, 1]
             .item() for _ in range(30)}
    assert found == {0}


@pytest.mark.parametrize(('make', 'message'), [
    (lambda: ClassMix(prob=2), 'ClassMix: prob=2, expected 0 to 1'),
    (lambda: CutMix((0.5, 0.1)), r'CutMix: area=\(0.5, 0.1\), expected two shares'),
    (lambda: CutMix((0, 0.5)), 'CutMix: area='),
    (lambda: CutMix((0.5, 1.1)), 'CutMix: area=')])
def test_wrong_options(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_labels_of_another_size():
    images, samples = numbered(2)
    message = r'gt_sem_seg of 0\.png has 20x20 pixels, and the images .* 10x20;'
    with pytest.raises(DistillationError, match=message):
        CutMix()(images[:, :, :10], samples)


@pytest.mark.parametrize('module', ['cut_mix', 'class_mix'])
def test_examples(module):
    module = importlib.import_module(
        f'fastsegformer_mm.distillation.batch_augments.{module}')
    result = doctest.testmod(module)
    assert (result.attempted, result.failed) == (1, 0)
