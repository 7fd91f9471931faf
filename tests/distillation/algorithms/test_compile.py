"""torch.compile of the two networks, by options."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import build_optim_wrapper

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / 'tiny.py')))
set_up = tiny.set_up


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def trained(**kwargs):
    """Losses of three steps and the weights after them."""
    torch.manual_seed(0)
    model = tiny.build(**kwargs)
    optim_wrapper = build_optim_wrapper(
        model, dict(optimizer=dict(type='SGD', lr=0.05)))
    logs = [model.train_step(tiny.batch(seed=i), optim_wrapper) for i in range(3)]
    return logs, tiny.weights(model)


def assert_close(found, expected, tolerance):
    for log, log_expected in zip(found[0], expected[0]):
        assert log.keys() == log_expected.keys()
        for name, value in log_expected.items():
            torch.testing.assert_close(log[name], value, rtol=tolerance, atol=0)
    for name, value in expected[1].items():
        torch.testing.assert_close(found[1][name], value, rtol=0, atol=tolerance)


@pytest.mark.parametrize('networks', [('teacher',), ('student',)])
def test_compiled_network_gives_the_same(networks):
    graphs = {}

    def backend(name):
        def compile_graph(graph, _):
            graphs[name] = graphs.get(name, 0) + 1
            return graph.forward

        return dict(backend=compile_graph)

    expected = trained()
    found = trained(**{f'compile_{name}': backend(name) for name in networks})
    assert set(graphs) == set(networks)
    assert_close(found, expected, 1e-5)


def test_both_with_gradients_compiled_ahead():
    options = dict(backend='aot_eager')
    expected = trained()
    assert_close(
        trained(compile_teacher=options, compile_student=options), expected, 1e-5)


@pytest.mark.slow
def test_default_compiler():
    """Inductor: it needs a C++ compiler and takes a minute."""
    expected = trained()
    assert_close(trained(compile_teacher=True, compile_student=True), expected, 1e-4)
