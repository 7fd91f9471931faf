"""The command: what it prints, writes and exits with."""

import errno
import json
import runpy
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from fastsegformer_mm.deploy import DefectSegmentor, ModelCard
from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.network import load_network
from fastsegformer_mm.deploy.prediction import options, result_writer
from fastsegformer_mm.deploy.prediction.pipeline import Outcome
from fastsegformer_mm.deploy.prediction.progress import ProgressDisplay

TESTS = Path(__file__).parents[1]
WORKER = Path(__file__).with_name('predict_worker.py')
cases = runpy.run_path(str(TESTS / 'deploy/prediction_cases.py'))
tool = runpy.run_path(str(WORKER))['tool']
ColourSegmentor, lines, report = (
    cases[name] for name in ('ColourSegmentor', 'lines', 'report')
)
read_video, write_images, write_video = (
    cases[name] for name in ('read_video', 'write_images', 'write_video')
)
RULE = TESTS.parent / 'configs/grading/navel_orange.yml'


@pytest.fixture
def photos(tmp_path):
    write_images(tmp_path / 'photos', ['a.png', 'left/a.png', 'left/b.png'])
    return tmp_path / 'photos'


def run(*args, card=None):
    """Exit code, and what the segmentor was made with."""
    made = []

    def segmentor(model, **options):
        made.append((model, options))
        fake = ColourSegmentor()
        fake.card = card or fake.card
        return fake

    return tool.main([*map(str, args)], segmentor), made


def test_a_folder(photos, tmp_path, capsys):
    out = tmp_path / 'out'
    code, made = run(
        'model.onnx', photos, '--out', out, '--backend', 'onnxruntime', '--threads', 1,
        '--timeout', 90,
    )  # fmt: skip
    assert code == 0
    assert made == [
        (
            'model.onnx',
            dict(
                backend='onnxruntime',
                device='auto',
                threads=1,
                precision='auto',
                checkpoint=None,
                cfg_options=None,
                streams='auto',
                overlap='auto',
                timeout=90.0,
            ),
        )
    ]
    said = capsys.readouterr().out
    assert f'3 frames into {out}' in said
    assert 'network' in said
    found = report(out)
    assert [found[k] for k in ('status', 'frames', 'records', 'failed', 'skipped')] == [
        'complete',
        3,
        3,
        0,
        0,
    ]
    assert found['milliseconds']['network'] == pytest.approx(4)
    assert found['ratio_to_network'] == pytest.approx(
        found['seconds'] / 3 / 0.004, rel=0.01
    )
    assert found['frames_per_second'] == pytest.approx(3 / found['seconds'], rel=0.01)
    # lists and tuples are the same in JSON
    assert ModelCard.from_json(json.dumps(found['model'])) == ColourSegmentor.card
    assert {'fastsegformer_mm', 'opencv', 'torch'} <= set(found['versions'])
    assert found['options']['threads'] == 1
    # once more: nothing to do
    assert run('model.onnx', photos, '--out', out)[0] == options.USAGE
    assert 'backend was "onnxruntime", now it is "auto"' in capsys.readouterr().err
    assert run('model.onnx', photos, '--out', out, '--backend', 'onnxruntime')[0] == 0
    assert '0 frames into' in (said := capsys.readouterr().out)
    assert '3 inputs were done before' in said
    assert report(out)['records'] == 3
    assert run('model.onnx', photos, '--out', out, '--overwrite')[0] == 0
    assert '3 frames into' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('args', 'streams', 'overlap'),
    [
        (['belt.mkv'], 'auto', 'auto'),
        (['belt.mkv', '--streams', '3'], 3, 'auto'),
        (['belt.mkv', 'rtsp://camera.local/line'], 1, False),
        (['0', '--streams', '2'], 2, False),
    ],
)
def test_frames_at_a_time(tmp_path, monkeypatch, capsys, args, streams, overlap):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / 'belt.mkv', 2)
    made = []

    def refuse(model, **options):
        made.append((options['streams'], options['overlap']))
        raise DeployError('that will do')

    assert tool.main(['model.onnx', *args, '--out', 'out'], refuse) == options.USAGE
    assert made == [(streams, overlap)]
    assert 'that will do' in capsys.readouterr().err


def test_report_of_several_at_a_time(photos, tmp_path, capsys):
    def segmentor(model, **options):
        return ColourSegmentor(streams=2)

    args = ['model.onnx', str(photos), '--out', str(tmp_path / 'out')]
    assert tool.main(args, segmentor) == 0
    found = report(tmp_path / 'out')
    assert found['streams'] == 2
    # two of 4 ms side by side are 2 ms each
    assert found['ratio_to_network'] == pytest.approx(
        found['seconds'] / 3 / 0.002, rel=0.01
    )
    assert '2 at a time' in capsys.readouterr().out


def test_another_model_is_another_run(photos, tmp_path, capsys):
    out = tmp_path / 'out'
    assert run('m.onnx', photos, '--out', out)[0] == 0
    other = replace(ColourSegmentor.card, sha256='2' * 64)
    assert run('m.onnx', photos, '--out', out, card=other)[0] == 2
    assert 'the outputs of another run: model was' in capsys.readouterr().err
    # more images of the same folder are not
    write_images(photos, ['c.png'])
    assert run('m.onnx', photos, '--out', out)[0] == 0
    assert report(out)['frames'] == 1
    # those of another folder are
    assert run('m.onnx', photos / 'left', '--out', out)[0] == 2


def test_unreadable_files(photos, tmp_path, capsys):
    (photos / 'left/a.png').write_bytes(b'x')
    assert run('m.onnx', photos, '--out', tmp_path / 'out')[0] == 1
    said = capsys.readouterr()
    assert '2 frames into' in said.out
    assert '1 could not be predicted on:\n  left/a.png: 1 bytes that are no' in said.err
    assert report(tmp_path / 'out')['failures'][0][0] == 'left/a.png'


def test_options_reach_the_outputs(photos, tmp_path):
    out = tmp_path / 'out'
    write_video(photos / 'v.mkv', 9)
    parts = tmp_path / 'part.png'
    cv2.imwrite(str(parts), np.full((48, 64), 255, np.uint8))
    rule = tmp_path / 'rule.yml'
    rule.write_text(
        'otherwise: good\ngrades:\n- name: bad\n'
        '  any: [{class: ulcer, pixels_above: 63}]\n'
    )
    code, _ = run(
        'm.onnx',
        photos,
        '--out',
        out,
        '--grading',
        rule,
        '--part-masks',
        parts,
        '--opacity',
        1,
        '--overlay-format',
        'png',
        '--no-masks',
        '--min-region',
        50,
        '--max-boxes',
        0,
        '--every',
        4,
        '--max-frames',
        2,
        '--video-format',
        'mkv',
        '--workers',
        1,
    )
    assert code == 0
    found = lines(out)
    assert [(r['source'], r['frame']) for r in found] == [
        ('a.png', None),
        ('v.mkv', 0),
        ('v.mkv', 4),
        ('left/a.png', None),
        ('left/b.png', None),
    ]
    assert {r['grade'] for r in found} == {'bad'}
    assert {r['part_pixels'] for r in found} == {48 * 64}
    assert found[0]['overlay'] == 'overlays/a.png'
    assert found[1]['overlay'] == 'overlays/v.mkv'
    figures = found[0]['classes']
    assert (figures['rust']['regions'], figures['ulcer']['boxes']) == (0, [])
    assert not (out / 'masks').exists()
    drawn = cv2.imread(str(out / 'overlays/a.png'))
    # class 1 at full brightness, all of it
    assert drawn[12, 4].tolist() == [0, 255, 0]
    assert len(read_video(out / 'overlays/v.mkv')) == 2
    other = tmp_path / 'other'
    assert run('m', photos, '--out', other, '--no-overlays', '--limit', 2)[0] == 0
    assert {r['source'] for r in lines(other)} == {'a.png', 'v.mkv'}
    assert not (other / 'overlays').exists()


def test_quality(photos, tmp_path):
    sizes = []
    for quality in (10, 95):
        out = tmp_path / str(quality)
        assert run('m', photos, '--out', out, '--quality', quality)[0] == 0
        sizes.append((out / 'overlays/a.jpg').stat().st_size)
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize(
    ('more', 'said'),
    [
        (['--every', '0'], '--every is 0: expected 1 or more'),
        (['--opacity', '2'], '--opacity is 2.0: expected 0 to 1'),
        (['--quality', '0'], '--quality is 0: expected 1 to 100'),
        (['--reconnect', '-1'], '--reconnect is -1: expected 0 or more'),
        (['--max-frames', '0'], '--max-frames is 0: expected 1 or more'),
        (['--segment-minutes', '0'], '--segment-minutes is 0.0: expected above 0'),
    ],
)
def test_options_out_of_range(photos, tmp_path, capsys, more, said):
    with pytest.raises(SystemExit) as error:
        run('m', photos, '--out', tmp_path / 'out', *more)
    assert error.value.code == 2
    assert said in capsys.readouterr().err


def test_errors_are_one_line(photos, tmp_path, capsys):
    out = tmp_path / 'out'
    for args in (
        ['nothing'],
        [photos, '--grading', 'none.yml'],
        [photos, '--grading', RULE],
        [photos, '--part-masks', 'none'],
        ['0', '1'],
    ):
        assert run('m', *args, '--out', out)[0] == options.USAGE
        said = capsys.readouterr().err
        assert said.startswith('error: ')
        assert said.count('\n') == 1
    assert not out.exists()


def test_breaks_off(photos, tmp_path, capsys, monkeypatch):
    (photos / 'left/b.png').unlink()

    def full(*args):
        raise OSError(errno.ENOSPC, 'No space left on device', 'masks/a.png')

    with monkeypatch.context() as patch:
        patch.setattr(result_writer, 'replace_file', full)
        assert run('m', photos, '--out', tmp_path / 'out')[0] == options.BROKE_OFF
    said = capsys.readouterr().err
    assert 'error: broke off: ' in said
    assert 'No space left on device' in said
    assert report(tmp_path / 'out')['status'] == 'broke off'
    assert run('m', photos, '--out', tmp_path / 'out')[0] == 0
    assert len(lines(tmp_path / 'out')) == 2


def test_a_true_network(photos, tmp_path):
    """What is written is what the segmentor finds."""
    name = 'fastsegformer-e_efficientformerv2-s0_1xb32-1000e_navel-orange-224x224'
    cfg = Config.fromfile(TESTS.parent / f'configs/fastsegformer/{name}.py')
    cfg.test_dataloader.dataset.pipeline[1].size = (64, 64)
    torch.manual_seed(0)
    network, card = load_network(cfg, allow_random=True)
    segmentor = DefectSegmentor((network, card), backend='torch', threads=1)
    out = tmp_path / 'out'
    args = ['m', str(photos), '--out', str(out), '--grading', str(RULE)]
    assert tool.main(args, lambda *a, **k: segmentor) == 0
    for record in lines(out):
        frame = cv2.imread(str(photos / record['source']))
        expected = segmentor.segment(frame).mask
        assert np.array_equal(np.array(Image.open(out / record['mask'])), expected)
        for index, figures in zip((1, 2, 3), record['classes'].values()):
            assert figures['pixels'] == (expected == index).sum()
        assert record['grade'] in ('reject', 'second', 'first')
    assert set(report(out)['milliseconds']) > {'preprocess', 'network', 'postprocess'}


def test_plain_lines_without_a_terminal(capsys):
    display = ProgressDisplay(200, interval=0.0)
    display._begin -= 10
    outcome = Outcome(frames=90, failed=10)
    with display:
        display(outcome)
    said = capsys.readouterr().err
    assert said == '100/200 frames, 9.0 frames/s, 10 failed, 0:00:10 left\n'
    display = ProgressDisplay(None, interval=60.0)
    display(outcome)
    assert capsys.readouterr().err == ''
    assert 'left' not in display.line(outcome, display._begin + 10)
