"""INT8 for OpenVINO: what is quantized, how near it stays, what goes back."""

import runpy
import sys
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
from torch import nn

from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.quantization import quantize_openvino, quantized_layers
from fastsegformer_mm.deploy.quantization.ranking import (
    _with_float,
    convolutions,
    rank_layers,
)

case = runpy.run_path(str(Path(__file__).with_name('quantization_case.py')))
SIDE, Small = case['SIDE'], case['Small']
closeness, images = case['closeness'], case['images']
LAYERS = ['first', 'depthwise', 'harmful', 'wide', 'last']


def convert(network, batch=1):
    return ov.convert_model(
        network,
        example_input=torch.rand(1, 3, SIDE, SIDE),
        input=[batch, 3, SIDE, SIDE],
    )


def outputs(model, precision='f32'):
    compiled = ov.compile_model(
        model,
        'CPU',
        {'INFERENCE_PRECISION_HINT': precision, 'INFERENCE_NUM_THREADS': 1},
    )
    return [compiled([image])[0].copy() for image in images()]


def short(names):
    return [name.split('/')[0].removeprefix('__module.') for name in names]


@pytest.fixture(scope='module')
def model():
    return convert(Small())


@pytest.fixture(scope='module')
def harmed():
    return convert(Small(harm=3000.0))


@pytest.fixture(scope='module')
def quantized(model):
    return quantize_openvino(model, iter(images()))


def test_all_convolutions_and_nothing_else(model, quantized):
    assert short(quantized_layers(quantized)) == LAYERS
    assert quantized_layers(model) == []
    readers = {
        target.get_node().get_type_name()
        for op in quantized.get_ops()
        if op.get_type_name() == 'FakeQuantize'
        for target in op.output(0).get_target_inputs()
    }
    assert readers == {'Convolution', 'GroupConvolution'}


def test_activations_are_unsigned_between_what_was_seen(quantized):
    ranges = {}
    for op in quantized.get_ops():
        if op.get_type_name() == 'FakeQuantize':
            assert op.get_attributes()['levels'] == 256
            reader = next(iter(op.output(0).get_target_inputs())).get_node()
            name = short([reader.get_friendly_name()])[0]
            ranges[name] = [op.input_value(i).get_node().data for i in (1, 2)]
    seen = np.stack(images())
    low, high = ranges['first']
    assert (low.item(), high.item()) == pytest.approx((0, seen.max()), abs=1e-3)
    with torch.no_grad():
        gelu = nn.functional.gelu(Small().first(torch.from_numpy(seen[:, 0])))
    # each channel of a depthwise convolution has its own
    low, high = ranges['depthwise']
    assert low.shape == (1, 8, 1, 1)
    # zero is kept exactly, so that the ends shift by a step at most
    step = 2 * (high - low).max() / 255
    assert np.allclose(low, gelu.amin((0, 2, 3), keepdim=True), atol=step)
    assert np.allclose(high, gelu.amax((0, 2, 3), keepdim=True), atol=step)


def test_stays_near_and_leaves_the_model_alone(model, quantized):
    before = outputs(model)
    # processors without VNNI saturate sums of bytes: 97 instead of 99
    assert closeness(outputs(quantized), before) > 96
    assert not any(op.get_type_name() == 'FakeQuantize' for op in model.get_ops())
    assert closeness(outputs(quantized, 'bf16'), before) > 96


def test_biases_are_corrected():
    conv = nn.Conv2d(3, 4, 3, padding=1).eval()
    with torch.no_grad():
        # weights of one channel in steps as large as those of the others
        conv.weight[:, 0] *= 100
        conv.bias += 1
    model = convert(conv)

    def mean_error(result):
        errors = [a - b for a, b in zip(outputs(result), outputs(model))]
        return np.abs(np.mean(errors, (0, 1, 3, 4))).max()

    corrected = quantize_openvino(model, images())
    assert mean_error(corrected) < 0.3 * mean_error(quantize_without_correction(model))


def quantize_without_correction(model):
    import nncf

    from fastsegformer_mm.deploy.quantization import openvino_int8

    return openvino_int8._quantize(nncf, model, images(), [], correct_biases=False)


def test_runs_on_integers(quantized):
    compiled = ov.compile_model(quantized, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    kinds = [
        str(op.get_rt_info()['runtimePrecision'].astype(str))
        for op in compiled.get_runtime_model().get_ops()
        if str(op.get_rt_info()['layerType'].astype(str)) == 'Convolution'
    ]
    assert len(kinds) == len(LAYERS)
    assert set(kinds) <= {'u8', 'i8'}


def test_the_same_every_time(model, quantized):
    again = quantize_openvino(model, images())
    for a, b in zip(outputs(quantized), outputs(again), strict=True):
        assert np.array_equal(a, b)


def test_names_that_stay_in_float(model):
    names = list(quantized_layers(quantize_openvino(model, images())))
    first, last = names[0], names[-1]
    some = quantize_openvino(model, images(), keep_float=[first, last])
    assert quantized_layers(some) == names[1:-1]


def test_metadata_and_names_are_kept(harmed):
    marked = harmed.clone()
    marked.set_rt_info('{"name": "my"}', ['fastsegformer_mm'])
    marked.input(0).get_tensor().set_names({'image'})
    result = quantize_openvino(marked, images())
    assert result.get_rt_info(['fastsegformer_mm']).astype(str) == '{"name": "my"}'
    assert result.input(0).get_names() == {'image'}


def test_a_batch_of_any_size_and_calibration_at_batch_one():
    result = quantize_openvino(convert(Small(), batch=-1), images())
    compiled = ov.compile_model(result, 'CPU')
    both = np.concatenate(images()[:2])
    assert compiled([both])[0].shape == (2, 4, SIDE, SIDE)


def test_what_harms_goes_back_to_float(harmed):
    expected = outputs(harmed)
    asked = []

    def accuracy(candidate):
        asked.append(quantized_layers(candidate))
        return closeness(outputs(candidate), expected)

    plain = quantize_openvino(harmed, images())
    assert accuracy(plain) < 90
    asked.clear()
    result = quantize_openvino(harmed, images(), accuracy=accuracy, max_drop=5.0)
    assert short(quantized_layers(result)) == [n for n in LAYERS if n != 'harmful']
    assert closeness(outputs(result), expected) >= 95
    # the float model first, then all layers, then ever fewer
    assert asked[0] == []
    assert len(asked[1]) == len(LAYERS)
    assert asked[-1] == quantized_layers(result)


def test_nothing_goes_back_where_the_figure_is_met(harmed):
    figures = iter([50.0, 49.8])
    result = quantize_openvino(
        harmed, images(), accuracy=lambda _: next(figures), max_drop=0.2 + 1e-9
    )
    assert short(quantized_layers(result)) == LAYERS


def test_a_drop_that_cannot_be_met(harmed):
    with pytest.raises(DeployError, match=r'49\.90.*no layer.*larger max_drop'):
        quantize_openvino(
            harmed,
            images(),
            accuracy=lambda m: 0.0 if quantized_layers(m) else 50.0,
            max_drop=0.1,
        )


def test_ranking_puts_the_harmful_layer_first(harmed):
    order = rank_layers(harmed, quantize_without_correction(harmed), images())
    assert short(order)[0] == 'harmful'
    assert sorted(short(order)) == sorted(LAYERS)


def test_ranking_puts_back_the_weights_too(harmed):
    plain = quantize_without_correction(harmed)
    copy = plain
    for op in convolutions(harmed):
        copy = _with_float(copy, op.get_friendly_name(), op.input_value(1))
    for a, b in zip(outputs(copy), outputs(harmed), strict=True):
        assert np.abs(a - b).max() < 1e-5
    assert len(quantized_layers(plain)) == len(LAYERS)


@pytest.mark.parametrize(
    ('options', 'match'),
    [
        ({'accuracy': lambda _: 0.0}, 'max_drop=None; expected both'),
        ({'max_drop': 0.2}, 'accuracy=None.*expected both'),
        ({'accuracy': lambda _: 0.0, 'max_drop': -1}, 'max_drop=-1.*0 or more'),
        ({'keep_float': ['nowhere']}, "'nowhere'; expected some of __module.first"),
    ],
)
def test_options_that_do_not_go(model, options, match):
    with pytest.raises(DeployError, match=match):
        quantize_openvino(model, images(), **options)


def test_other_errors(model, monkeypatch):
    with pytest.raises(DeployError, match='takes float32'):
        quantize_openvino(model, [images()[0][..., 1:]])
    with pytest.raises(DeployError, match='no convolution'):
        quantize_openvino(convert(nn.ReLU()), images())
    monkeypatch.setitem(sys.modules, 'nncf', None)
    with pytest.raises(DeployError, match=r'fastsegformer-mm\[deploy\]'):
        quantize_openvino(model, images())
