"""Tables, Markdown and pictures of made-up runs."""

import io
import runpy
from pathlib import Path
from types import SimpleNamespace

import cv2
import pytest
from rich.console import Console

from fastsegformer_mm.deploy.benchmark import report
from fastsegformer_mm.deploy.benchmark.plots import (
    OURS_COLOUR,
    RIVAL_COLOUR,
    missing,
    parameters_figure,
    speed_figure,
)
from fastsegformer_mm.deploy.benchmark.results import derive, read_runs
from fastsegformer_mm.deploy.benchmark.sheets import heading, sheets_of

case = SimpleNamespace(
    **runpy.run_path(str(Path(__file__).parent / 'benchmark_case.py'))
)


@pytest.fixture
def run():
    return case.example_run()


def sheet(run, title):
    return next(s for s in sheets_of(run) if s.title.startswith(title))


def texts(axes):
    return [text.get_text() for text in axes.texts]


def points(axes):
    """{(x, y): (colour, marker)} of the single marks."""
    return {
        (line.get_xdata()[0], line.get_ydata()[0]): (
            line.get_color(), line.get_marker()
        )
        for line in axes.lines
        if len(line.get_xdata()) == 1
    }  # fmt: skip


def test_cells_to_the_last_digit(run):
    assert sheet(run, 'Networks').rows == [
        ['ours', 'best.pth', '64x64', '5,000,000', '0.80'],
        ['rival', 'best.pth', '64x64', '3,000,000', '0.80'],
    ]
    network = sheet(run, 'Network alone')
    assert network.rows[2] == [
        'ours', 'openvino bf16', '9.00', '10.0', '8.00', '111.1', '6.50 [5.00-8.00]',
        '300', '1.2',
    ]  # fmt: skip
    assert len(network.columns) == 9
    assert sheet(run, 'From the frame').rows[2] == [
        'ours', 'openvino bf16', '1.00', '9.00', '2.00', '12.0', '13.0', '83.3',
        '1.34 [1.30-1.38]', '6.12 [4.55-7.69]',
    ]  # fmt: skip
    assert sheet(run, 'Agreement').rows[2] == [
        'ours', 'openvino bf16', '1.2e-02', '99.8500', '-', '70.25',
    ]  # fmt: skip
    assert 'the official way of a frame' in sheet(run, 'From the frame').notes[0]
    run['entries'][1]['backend'] = 'compile'
    assert sheet(run, 'From the frame').notes == []
    run['entries'][2]['test'] = dict(equal_pixels=0.99875)
    run['entries'][2]['miou_given'] = True
    run['entries'][2]['gpu_peak_bytes'] = 64 * 2**20
    assert sheet(run, 'Agreement').rows[2][-2:] == ['99.8750', '70.25 (given)']
    network = sheet(run, 'Network alone')
    assert network.columns[8] == 'GPU MiB'
    assert [row[8] for row in network.rows] == ['-', '-', '64', '-']


def test_what_is_said_above(run):
    run['settings']['trial'] = False
    lines = heading(run)
    assert lines[0] == 'EPYC, 2 cores, avx2 avx512_bf16, 16 GiB (plant)'
    assert lines[1].endswith('commit 0123456789ab')
    assert 'python 3.11, torch 2.14' in lines
    assert 'threads: 2, batch 1; 50 warm-ups, then 2 rounds of 2 runs' in lines[3]
    assert lines[4] == '3 frames of 48x64 (made up)'
    assert lines[5:] == ['OMP_WAIT_POLICY=passive']

    run['settings']['trial'] = True
    run['complete'] = False
    run['entries'][0]['busy_elsewhere'] = [0.04, 1.24]
    run['entries'][2]['spins'] = True
    run['versions']['commit'] += '+'
    lines = heading(run)
    assert lines[1].endswith('0123456789ab+')
    words = ' '.join(lines[6:])
    assert 'A TRIAL with few warm-ups' in words
    assert 'INTERRUPTED' in words
    assert 'NOT IDLE: other processes took up to 1.2 of 2 cores' in words
    assert 'did not come to rest after a turn and slow the next: ours / openvi' in words


def test_random_weights_are_marked_in_tables(run):
    run['models']['rival']['random_weights'] = True
    run['entries'][3].pop('miou')
    derive(run)
    assert sheet(run, 'Networks').rows[1][1] == 'RANDOM'
    for title in ('Network alone', 'From the frame', 'Agreement'):
        found = sheet(run, title)
        assert [row[0] for row in found.rows] == ['ours'] * 3 + ['rival *']
        assert '* random weights: its speed is real' in found.notes[-1]
    assert 'RANDOM' in report.markdown([run])
    assert 'Without a point in the pictures: rival (random weights).' in (
        report.markdown([run])
    )


def test_failures_are_listed_with_the_reason(run):
    run['entries'].append(
        case.new_entry(case.Combination(case.Model('ours', 'a.py'), 'openvino', 'int8'))
    )
    run['entries'][-1].update(status='failed', reason='no such | precision')
    run['entries'].append(
        case.new_entry(case.Combination(case.Model('ours', 'a.py'), 'onnxruntime'))
    )
    assert sheet(derive(run), 'Not measured').rows == [
        ['ours / openvino:int8', 'no such | precision'],
        ['ours / onnxruntime:fp32', 'not measured'],
    ]
    assert 'no such \\| precision |' in report.markdown([run])


def test_gain_of_each_pass():
    run = case.example_run()
    exact = dict(frames=3, equal_pixels=1.0, logit_difference=2e-6)
    run['entries'] = [
        case.entry('ours', backend, 'fp32', seconds, passes, agreement=exact)
        for backend, passes, seconds in (
            ('torch', (), [0.040, 0.040]),
            ('torch', ('fold',), [0.032, 0.032]),
            ('torch', ('fold', 'move'), [0.020, 0.020]),
            ('openvino', (), [0.010, 0.030]),
            ('openvino', ('fold',), [0.008, 0.010]),
        )
    ]
    found = sheet(derive(run), 'Gain of each pass')
    assert [row[1:6] for row in found.rows] == [
        ['torch fp32', 'as trained', '40.0', '1.00', '1.00'],
        ['torch fp32', '+ fold', '32.0', '1.25', '1.25'],
        ['torch fp32', '+ move', '20.0', '1.60', '2.00'],
        ['openvino fp32', 'as trained', '20.0', '1.00', '1.00'],
        # round by round: 10 / 8 and 30 / 10
        ['openvino fp32', '+ fold', '9.00', '2.12', '2.12'],
    ]
    assert found.rows[4][6:] == ['4.50 [4.00-5.00]', '2.0e-06', '100.0000']
    assert sheet(run, 'Network alone').rows[1][1] == 'torch fp32, passes: 1'


def test_frames_side_by_side(run):
    run['entries'][1]['streams'] = 1
    run['entries'][2]['streams'] = 2
    for title in ('Network alone', 'From the frame', 'Agreement'):
        assert sheet(run, title).rows[2][1] == 'openvino bf16, 2 streams'
        assert sheet(run, title).rows[1][1].endswith(', 1 stream')
        notes = ' '.join(sheet(run, title).notes)
        assert 'so many at a time in the network and others prepared meanwhile' in notes
    legend = speed_figure([run]).axes[0].get_legend().get_texts()
    assert legend[-1].get_text() == 'openvino bf16, 2 streams'


def test_speed_plot(run):
    axes = speed_figure([run]).axes[0]
    found = points(axes)
    # the reference loop's network is eager PyTorch once more
    places = sorted((round(x, 3), y) for x, y in found)
    assert places == [(16.667, 70.5), (50.0, 65.0), (111.111, 70.25)]
    by_score = {y: look for (_, y), look in found.items()}
    assert by_score[70.5][0] == by_score[70.25][0] == OURS_COLOUR
    assert by_score[65.0][0] == RIVAL_COLOUR
    # a mark for each runtime
    assert by_score[70.5][1] == by_score[65.0][1] != by_score[70.25][1]
    assert texts(axes) == ['ours', 'rival']
    label = axes.texts[0]
    assert label.xy == pytest.approx((1 / 0.009, 70.25))
    assert label.get_fontweight() == 'bold'
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ['ours', 'rivals', 'torch fp32', 'openvino bf16']
    assert 'threads: 2, cpu' in axes.get_title()
    # a difference of a hundredth does not fill the picture
    for entry in run['entries']:
        entry['miou'] = 70.0 + 0.01 * (entry['precision'] == 'bf16')
    low, high = speed_figure([run]).axes[0].get_ylim()
    assert high - low == pytest.approx(4)
    assert low + high == pytest.approx(140.01)


def test_parameters_plot(run):
    axes = parameters_figure([run]).axes[0]
    assert points(axes) == {
        (5.0, 70.5): (OURS_COLOUR, 'o'), (3.0, 65.0): (RIVAL_COLOUR, 'o'),
    }  # fmt: skip
    assert texts(axes) == ['ours', 'rival']


def test_random_weights_are_in_no_plot(run):
    run['models']['ours']['random_weights'] = True
    speed, parameters = speed_figure([run]), parameters_figure([run])
    for figure in (speed, parameters):
        assert {y for _, y in points(figure.axes[0])} == {65.0}
        assert texts(figure.axes[0]) == ['rival']
        note = figure.texts[0].get_text()
        assert note == 'not shown: ours (random weights)'
    run['entries'][3].pop('miou')
    assert missing([run]) == ['ours (random weights)', 'rival (no mIoU)']
    assert speed_figure([run]) is parameters_figure([run]) is None


def test_no_plot_of_two_machines(run):
    other = case.example_run(machine=dict(cpu='Xeon'))
    with pytest.raises(ValueError, match='several machines'):
        speed_figure([run, other])


def test_files_of_one_and_of_two_machines(run, tmp_path):
    files = report.write(tmp_path, [run])
    assert [path.name for path in files] == [
        'benchmark.json', 'benchmark.md', 'miou_parameters.png', 'miou_fps.png',
    ]  # fmt: skip
    for path in files[2:]:
        assert cv2.imread(str(path)).shape[1] > 800
    assert read_runs([files[0]]) == [run]
    assert '## Machine' not in files[1].read_text()

    other = case.example_run(machine=dict(cpu='Xeon'))
    other['entries'] = other['entries'][2:3]
    derive(other)
    files = report.write(tmp_path, [run, other])
    assert [path.name for path in files[3:]] == ['miou_fps.png', 'miou_fps_2.png']
    here, there = files[1].read_text().split('## Machine 2: Xeon')
    assert '## Machine 1: EPYC' in here
    assert '| ours | openvino bf16 | 9.00 | 10.0 | 8.00 | 111.1 | 6.50 [5' in here
    # no eager run on that machine: no ratio
    assert '| ours | openvino bf16 | 9.00 | 10.0 | 8.00 | 111.1 | - | 300' in there

    # pictures of an earlier run would be taken for this one's
    for entry in run['entries']:
        entry['miou'] = None
    assert len(report.write(tmp_path, [run])) == 2
    assert not (tmp_path / 'miou_fps.png').exists()


def test_terminal(run):
    out = io.StringIO()
    report.show(Console(file=out, width=160), [run])
    text = out.getvalue()
    for words in ('Network alone', '6.50 [5.00-8.00]', '99.8500', 'official way'):
        assert words in text
