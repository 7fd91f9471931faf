"""One frame to its record and files."""

import io
import json
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image

from fastsegformer_mm.deploy.prediction import (
    Frame,
    FrameSettings,
    InputError,
    PartMasks,
    finish_frame,
    read_grading,
    read_image,
)

cases = runpy.run_path(str(Path(__file__).with_name('prediction_cases.py')))
picture, CARD = cases['picture'], cases['CARD']
SEGMENTOR = cases['ColourSegmentor']()


def finish(frame=None, **settings):
    frame = frame or Frame(picture(), 'left/a.png', 'left/a', reading=0.5)
    return finish_frame(
        frame, SEGMENTOR.segment(frame.image), FrameSettings(**settings)
    )


def test_record_of_an_image():
    out = finish(Frame(picture(), 'left/a.png', 'left/a', stamp=(9, 8), reading=0.5))
    assert out.record == {
        'source': 'left/a.png',
        'frame': None,
        'seconds': None,
        'at': None,
        'height': 48,
        'width': 64,
        'part_pixels': None,
        'grade': None,
        'reasons': [],
        'classes': {
            'ulcer': {
                'pixels': 64,
                'share': 64 / 3072,
                'part_share': None,
                'regions': 1,
                'largest': 64,
                'boxes': ((0, 8, 8, 8),),
            },
            'rust': {
                'pixels': 40,
                'share': 40 / 3072,
                'part_share': None,
                'regions': 1,
                'largest': 40,
                'boxes': ((30, 40, 20, 2),),
            },
        },
        'mask': 'masks/left/a.png',
        'overlay': 'overlays/left/a.jpg',
        'stamp': (9, 8),
    }
    json.dumps(out.record)
    assert list(out.files) == ['masks/left/a.png', 'overlays/left/a.jpg']
    assert out.frame.image is None
    assert list(out.seconds) == [
        'reading',
        'preprocess',
        'network',
        'postprocess',
        'measuring',
        'drawing',
        'encoding',
    ]
    assert (out.seconds['reading'], out.seconds['network']) == (0.5, 0.004)


def test_mask_is_read_back_by_mmsegmentation(tmp_path):
    out = finish()
    path = tmp_path / 'a.png'
    path.write_bytes(out.files['masks/left/a.png'])
    mask = SEGMENTOR.segment(picture()).mask
    results = LoadAnnotations().transform(
        {'seg_map_path': str(path), 'reduce_zero_label': False, 'seg_fields': []}
    )
    assert np.array_equal(results['gt_seg_map'], mask)
    # to be seen in its colours
    colours = np.array(Image.open(path).convert('RGB'))
    assert np.array_equal(colours, np.array(CARD.palette, np.uint8)[mask])


def test_masks_of_many_classes_keep_their_indices():
    from dataclasses import replace

    from fastsegformer_mm.deploy.prediction.finish import encode_mask

    card = replace(CARD, palette=tuple((k, 0, 255 - k) for k in range(200)))
    mask = np.arange(200, dtype=np.uint8).reshape(10, 20)
    assert np.array_equal(Image.open(io.BytesIO(encode_mask(mask, card))), mask)


@pytest.mark.parametrize('kind', ['jpg', 'png', 'webp'])
def test_overlays(kind):
    def size(quality):
        out = finish(overlay_format=kind, opacity=0.5, quality=quality)
        content = out.files[f'overlays/left/a.{kind}']
        assert content[:4] in (b'\xff\xd8\xff\xe0', b'\x89PNG', b'RIFF')
        drawn = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        expected = picture()
        # half of the colour; full brightness is the same green and red here
        assert np.abs(drawn[12, 4].astype(int) - expected[12, 4]).max() < 40
        assert np.abs(drawn[30, 60].astype(int) - 40).max() < 10
        return len(content)

    assert (size(90) > size(10)) == (kind != 'png')


def test_opacity():
    frame = Frame(np.full((48, 64, 3), 200, np.uint8), 'a.png', 'a')
    drawn = {}
    for opacity in (0.0, 0.5, 1.0):
        out = finish(frame, overlay_format='png', opacity=opacity)
        content = np.frombuffer(out.files['overlays/a.png'], np.uint8)
        drawn[opacity] = cv2.imdecode(content, cv2.IMREAD_COLOR)[0, 0].tolist()
    # all is class 2, red
    assert drawn[0.0] == [200, 200, 200]
    assert drawn[1.0] == [0, 0, 255]
    assert np.allclose(drawn[0.5], [100, 100, 228], atol=1)


def test_off():
    out = finish(masks=False)
    assert list(out.files) == ['overlays/left/a.jpg']
    assert out.record['mask'] is None
    out = finish(overlays=False)
    assert list(out.files) == ['masks/left/a.png']
    assert out.record['overlay'] is None
    assert finish(masks=False, overlays=False).files == {}


def test_frame_of_a_video_is_not_encoded():
    frame = Frame(picture(), 'v.mp4', 'v', index=7, seconds=0.35, rate=20.0)
    out = finish(frame)
    assert out.files == {}
    assert np.array_equal(out.mask, SEGMENTOR.segment(frame.image).mask)
    assert out.overlay.shape == (48, 64, 3)
    assert [out.record[k] for k in ('frame', 'seconds', 'mask', 'overlay')] == [
        7,
        0.35,
        None,
        None,
    ]
    out = finish(frame, masks=False, overlays=False)
    assert (out.mask, out.overlay) == (None, None)


def test_part_and_grade(tmp_path):
    part = np.zeros((48, 64), np.uint8)
    part[:16] = 255
    (tmp_path / 'left').mkdir()
    Image.fromarray(part).save(tmp_path / 'left/a.png')
    rule = tmp_path / 'rule.yml'
    rule.write_text(
        'shares_of: part\notherwise: good\ngrades:\n'
        '- {name: bad, any: [{class: ulcer, share_above: 0.06}]}\n'
    )
    out = finish(
        parts=PartMasks(tmp_path), grading=read_grading(rule, CARD.classes)
    ).record
    assert out['part_pixels'] == 1024
    assert out['classes']['ulcer']['part_share'] == 64 / 1024
    assert out['classes']['rust']['part_share'] == 0.0
    assert (out['grade'], out['reasons']) == ('bad', ['ulcer: share 0.0625 > 0.06'])


def test_regions_and_boxes():
    figures = finish(min_region=50, max_boxes=0).record['classes']
    assert (figures['ulcer']['regions'], figures['rust']['regions']) == (1, 0)
    assert figures['ulcer']['boxes'] == ()


def test_images_are_read_as_the_loader_reads_them(tmp_path):
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (9, 14), np.uint8)
    turned = Image.fromarray(rng.integers(0, 256, (9, 14, 3), np.uint8))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / 'turned.jpg', exif=exif)
    cv2.imwrite(str(tmp_path / 'grey.png'), grey)
    cv2.imwrite(str(tmp_path / 'deep.png'), grey.astype(np.uint16) * 257)
    alpha = rng.integers(0, 256, (9, 14, 4), np.uint8)
    cv2.imwrite(str(tmp_path / 'alpha.png'), alpha)
    shapes = {'turned.jpg': (14, 9, 3)}
    for name in ('turned.jpg', 'grey.png', 'deep.png', 'alpha.png'):
        found = read_image(tmp_path / name, depth=16)
        expected = LoadImageFromFile()({'img_path': str(tmp_path / name)})['img']
        assert (found.shape, found.dtype) == (shapes.get(name, (9, 14, 3)), np.uint8)
        assert np.array_equal(found, expected), name
    assert np.array_equal(read_image(tmp_path / 'grey.png')[..., 1], grey)


def test_images_that_are_none(tmp_path):
    def reason(name):
        with pytest.raises(InputError) as error:
            read_image(tmp_path / name, f'photos/{name}')
        assert error.value.origin == f'photos/{name}'
        return error.value.reason

    (tmp_path / 'empty.png').write_bytes(b'')
    (tmp_path / 'text.jpg').write_bytes(b'not an image')
    content = cv2.imencode('.png', picture())[1].tobytes()
    (tmp_path / 'half.png').write_bytes(content[: len(content) // 2])
    (tmp_path / 'folder.png').mkdir()
    assert reason('none.png') == 'No such file or directory'
    assert reason('folder.png') == 'Is a directory'
    assert reason('empty.png') == 'the file is empty'
    assert reason('text.jpg') == '12 bytes that are no whole image of a known format'
    assert 'no whole image' in reason('half.png')
