"""Figures that follow from made-up seconds: medians, ratios, merged machines."""

import doctest
import importlib
import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fastsegformer_mm.deploy.benchmark.agreement import agree
from fastsegformer_mm.deploy.benchmark.combination import combinations_of
from fastsegformer_mm.deploy.benchmark.machine import (
    commit,
    describe_environment,
    describe_machine,
    describe_versions,
    title_of,
)
from fastsegformer_mm.deploy.benchmark.results import (
    by_machine,
    check_names,
    derive,
    read_miou,
    read_runs,
    write_runs,
)
from fastsegformer_mm.deploy.benchmark.statistics import compare, summarise
from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.threads import usable_cores

case = SimpleNamespace(
    **runpy.run_path(str(Path(__file__).parent / 'benchmark_case.py'))
)
NAME = 'fastsegformer_mm.deploy.benchmark'


@pytest.mark.parametrize(
    'module', ['statistics', 'agreement', 'combination', 'machine', 'rounds', 'sheets']
)
def test_docstring_examples(module, monkeypatch):
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    result = doctest.testmod(
        importlib.import_module(f'{NAME}.{module}'), extraglobs={'np': np}
    )
    assert result.attempted
    assert not result.failed


def test_summary_of_a_hundred_runs():
    seconds = [i / 1000 for i in range(1, 101)][::-1]
    found = summarise(seconds)
    assert found.runs == 100
    assert found.p50 == pytest.approx(0.0505)
    # linear between the 95th and 96th: 95 + 0.05 * (96 - 95)
    assert found.p95 == pytest.approx(0.09505)
    assert found.minimum == 0.001
    assert found.frames_per_second == pytest.approx(1 / 0.0505)


def test_a_ratio_is_taken_round_by_round():
    # the machine was half as fast in the third round, for both
    slow = [[4.0, 4.0, 9.0], [6.0], [10.0, 10.0]]
    fast = [[2.0], [2.0, 2.0], [4.0]]
    found = compare(slow, fast)
    assert (found.times, found.low, found.high) == (2.5, 2.0, 3.0)
    # an interrupted round is in neither
    assert compare([[4.0]], [[2.0], [1.0]]).times == 2.0
    assert compare([], [[1.0]]) is None


def test_figures_of_a_run():
    run = case.example_run()
    eager, loop, bf16, rival = run['entries']
    assert bf16['stages']['network']['p50'] == pytest.approx(0.009)
    assert bf16['stages']['network']['minimum'] == 0.008
    assert bf16['stages']['network']['runs'] == 4
    assert bf16['stages']['network']['frames_per_second'] == pytest.approx(1 / 0.009)
    # 40 / 8 and 80 / 10
    assert bf16['times_eager'] == pytest.approx(dict(times=6.5, low=5, high=8))
    assert eager['times_eager'] == dict(times=1, low=1, high=1)
    # 50 / 11 and 100 / 13
    ratio = bf16['times_reference']
    assert (ratio['low'], ratio['high']) == pytest.approx((50 / 11, 100 / 13))
    assert loop['times_reference']['times'] == 1
    # 11 / 8 and 13 / 10
    own = bf16['pipeline_over_network']
    assert (own['low'], own['high']) == pytest.approx((1.3, 1.375))
    # its own eager network, and no reference loop of another
    assert rival['times_eager']['times'] == 1
    assert rival['times_reference'] is None
    assert [m['ours'] for m in run['models'].values()] == [True, False]


def test_no_ratio_without_turns_together():
    run = case.example_run()
    run['entries'][2]['group'] = 1
    derive(run)
    assert run['entries'][2]['times_eager'] is None
    assert run['entries'][2]['times_reference'] is None
    assert run['entries'][2]['pipeline_over_network'] is not None
    # and none against an entry that is not there
    run = case.example_run()
    del run['entries'][0]
    assert derive(run)['entries'][1]['times_eager'] is None


def test_machines_are_told_apart(tmp_path):
    here, later = case.example_run(), case.example_run()
    there = case.example_run(machine=dict(cpu='Xeon'))
    less = case.example_run(machine=dict(cores=1))
    assert by_machine([here, there, later, less]) == [[here, later], [there], [less]]

    # eager on one machine, bf16 on the other: in one file, and no ratio
    del here['entries'][1:], there['entries'][:2]
    paths = [tmp_path / 'a.json', tmp_path / 'b.json']
    write_runs(paths[0], [here])
    write_runs(paths[1], [there, here])
    runs = read_runs([*paths, paths[0]])
    assert [run['run'] for run in runs] == [here['run'], there['run']]
    for run in runs:
        derive(run)
    assert runs[1]['entries'][0]['backend'] == 'openvino'
    assert runs[1]['entries'][0]['times_eager'] is None
    assert runs[1]['entries'][0]['times_reference'] is None
    assert runs[0]['entries'][0]['times_eager']['times'] == 1


@pytest.mark.parametrize(
    'content', ['[]', '{"format": 0, "runs": []}', '{', '{"format": 1}']
)
def test_a_file_of_something_else(tmp_path, content):
    path = tmp_path / 'other.json'
    path.write_text(content)
    with pytest.raises(DeployError, match=r'other.json: expected benchmark.json'):
        read_runs([path])


def test_miou_from_elsewhere(tmp_path):
    last = tmp_path / 'test.json'
    last.write_text(json.dumps({'mIoU': 55.5, 'aAcc': 90.0}))
    log = tmp_path / 'scalars.json'
    log.write_text('{"mIoU": 1.0, "step": 1}\n{"mIoU": 66.5, "step": 2}\n')
    miou = read_miou([f'ours={last}', f'rival={log}', 'ours / openvino:bf16=54.25'])
    assert miou == {'ours': 55.5, 'rival': 66.5, 'ours / openvino:bf16': 54.25}

    run = case.example_run()
    for entry in run['entries'][:3]:
        del entry['miou']
    derive(run, miou)
    # of its own where it was evaluated; a precision has none from another
    assert [e.get('miou') for e in run['entries']] == [55.5, 55.5, 54.25, 65.0]
    assert [e.get('miou_given') for e in run['entries']] == [True, True, True, None]


def test_no_miou_of_random_weights():
    run = case.example_run()
    run['models']['ours']['random_weights'] = True
    for entry in run['entries'][:3]:
        del entry['miou']
    derive(run, {'ours': 55.5})
    assert run['entries'][0].get('miou') is None
    assert run['entries'][0]['no_miou'] == 'random weights'


@pytest.mark.parametrize('spec', ['ours', 'ours=', 'ours=x', '=50', 'a=101', 'a=-1'])
def test_wrong_miou(spec):
    with pytest.raises(DeployError, match=r'--miou .*expected NAME=PERCENT'):
        read_miou([spec])


def test_miou_of_a_network_that_is_not_there():
    chosen = combinations_of([case.network('a')], [('openvino', 'int8')])
    check_names({'a': 1.0, 'a / openvino:int8': 1.0}, chosen)
    for name in ('b', 'a / openvino:bf16'):
        with pytest.raises(DeployError, match=f'--miou {name}: expected a network, a,'):
            check_names({name: 50.0}, chosen)
    # of several runs, not all have all
    run = case.example_run()
    assert derive(run, {'other': 50.0}) == case.example_run() | {
        key: run[key] for key in ('run', 'date')
    }


def test_agreement_by_hand():
    masks = np.zeros((2, 2, 4), np.uint8)
    logits = np.zeros((2, 3, 2, 2), np.float32)
    logits[0, 0, 0, 0], logits[1, 2, 1, 1] = -5, 4
    other = dict(masks=masks.copy(), logits=logits.copy())
    other['masks'][1, 0, :3] = 1
    other['logits'][1, 2, 1, 1] = 4.5
    found = agree(dict(masks=masks, logits=logits), other)
    assert found.frames == 2
    assert found.equal_pixels == 13 / 16
    assert found.logit_difference == pytest.approx(0.1)
    # an artefact that gives masks
    found = agree(dict(masks=masks, logits=logits), dict(masks=masks))
    assert (found.equal_pixels, found.logit_difference) == (1.0, None)


def test_machine_and_versions():
    machine = describe_machine()
    assert machine['cores'] == usable_cores() >= 1
    assert machine['memory_bytes'] > 2**28
    assert machine['cpu']
    json.dumps(machine)
    assert title_of({**case.MACHINE, 'gpus': ['H200']}) == (
        'EPYC, 2 cores, avx2 avx512_bf16, 16 GiB, H200 (plant)'
    )
    versions = describe_versions()
    import mmseg
    import torch

    assert versions['torch'] == torch.__version__
    assert versions['mmseg'] == mmseg.__version__
    assert {'python', 'fastsegformer_mm', 'numpy', 'commit'} <= set(versions)
    environment = describe_environment({'OMP_WAIT_POLICY': 'active', 'HOME': '/'})
    assert environment == {'OMP_WAIT_POLICY': 'active'}


def test_commit_of_a_checkout_and_of_none(tmp_path):
    import subprocess

    def git(*words):
        name = ['-c', 'user.name=a', '-c', 'user.email=a@b']
        out = subprocess.run(
            ['git', '-C', str(tmp_path), *name, *words],
            check=True,
            capture_output=True,
            text=True,
        )
        return out.stdout.strip()

    assert commit(tmp_path) is None
    git('init', '-q')
    assert commit(tmp_path) is None  # nothing committed
    (tmp_path / 'a').write_text('1')
    git('add', 'a')
    git('commit', '-qm', 'a')
    digest = git('rev-parse', 'HEAD')
    assert commit(tmp_path) == digest
    (tmp_path / 'b').write_text('not tracked')
    assert commit(tmp_path) == digest
    (tmp_path / 'a').write_text('2')
    assert commit(tmp_path) == digest + '+'
