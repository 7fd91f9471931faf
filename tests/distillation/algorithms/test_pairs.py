"""Pairs that do not go together are refused, and the others listed, at the start."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import build_optim_wrapper

from fastsegformer_mm.distillation import DistillationError

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / 'tiny.py')))
set_up = tiny.set_up
FIRST = dict(in_channel=4, out_channel=6)


def refused_at_once(**recorders):
    with pytest.raises(DistillationError) as error:
        tiny.build(distiller=tiny.distiller(**recorders))
    return str(error.value)


def refused_at_first_batch(distiller, kind=DistillationError, **changes):
    """The message of the first step; no weight may have changed by it."""
    model = tiny.build(distiller=distiller, **changes)
    optim_wrapper = build_optim_wrapper(
        model, dict(optimizer=dict(type='SGD', lr=0.1)))
    before = tiny.weights(model), tiny.weights(model.teacher.network)
    with pytest.raises(kind) as error:
        model.train_step(tiny.batch(), optim_wrapper)
    assert tiny.same(before[0], tiny.weights(model))
    assert tiny.same(before[1], tiny.weights(model.teacher.network))
    return str(error.value)


@pytest.mark.parametrize('role', ['student', 'teacher'])
@pytest.mark.parametrize(('kind', 'source', 'what', 'nearest'), [
    ('ModuleOutputs', 'decode_head.conv_sec', 'module', 'decode_head.conv_seg'),
    ('ModuleInputs', 'bakcbone', 'module', 'backbone'),
    ('mmrazor.ModuleOutputs', 'backbone.zzzzzzzzzzzzzz', 'module',
     'backbone.stem, backbone.project, backbone.relu, backbone.drop'),
    ('ModuleOutputs', 'zz', 'module', 'data_preprocessor, backbone, decode_head'),
    ('ModuleOutputs', '', 'module', 'data_preprocessor, backbone, decode_head'),
    ('Parameter', 'backbone.project.wieght', 'parameter', 'backbone.project.weight'),
])
def test_source_that_does_not_exist(role, kind, source, what, nearest):
    recorders = {'odd': dict(type=kind, source=source)}
    told = refused_at_once(**{f'{role}_recorders': recorders})
    start = (f'{role}_recorders.odd: the {role} (EncoderDecoder) has no {what} '
             f'{source!r}. The nearest: ')
    assert told.startswith(start)
    assert told[len(start):].startswith(nearest)


@pytest.mark.parametrize('role', ['student', 'teacher'])
@pytest.mark.parametrize(('kind', 'source', 'nearest'), [
    ('MethodOutputs', 'mmseg.models.EncoderDecoder.extract_feats', 'extract_feat'),
    ('MethodInputs', 'mmseg.models.EncoderDecoders.extract_feat', 'EncoderDecoder'),
    ('FunctionOutputs', 'mmseg.models.utils.rezise', 'resize'),
    ('FunctionOutputs', 'mmseg.modules.utils.resize', ''),
    ('FunctionOutputs', 'resize', ''),
    ('MethodOutputs', 'EncoderDecoder.extract_feat', ''),
])
def test_code_that_does_not_exist(role, kind, source, nearest):
    recorders = {'odd': dict(type=kind, source=source)}
    told = refused_at_once(**{f'{role}_recorders': recorders})
    start = f'{role}_recorders.odd: there is no {source!r}'
    assert told.startswith(start)
    assert nearest in told[len(start):]


def test_sources_that_exist_are_taken():
    """Of every kind that MMRazor has."""
    extra = dict(
        module_in=dict(type='ModuleInputs', source='decode_head.conv_seg'),
        parameter=dict(type='Parameter', source='backbone.project.weight'),
        function=dict(type='FunctionOutputs', source='mmseg.models.utils.resize'),
        method=dict(
            type='MethodOutputs', source='mmseg.models.EncoderDecoder.extract_feat'))
    recorders = {
        f'{role}_recorders': {**tiny.distiller()[f'{role}_recorders'], **extra}
        for role in ('student', 'teacher')}
    model = tiny.build(distiller=tiny.distiller(**recorders))
    assert set(model.distiller.student_recorders.recorders) == {
        'backbone', 'logits', *extra}
    assert tiny.losses(model)['distill.loss_first'] > 0


@pytest.mark.parametrize('role', ['student', 'teacher'])
def test_module_that_is_never_called(role):
    """A head's own forward is, in training, but by its method."""
    sources = {'student': 'backbone.stem', 'teacher': 'backbone.stem'}
    sources[role] = dict(student='decode_head', teacher='decode_head.loss_decode')[role]
    told = refused_at_first_batch(
        tiny.one_pair(sources['student'], sources['teacher'], FIRST))
    argument = 'preds_S' if role == 'student' else 'preds_T'
    assert told.startswith(
        f'loss_map.{argument}: {sources[role]!r} of the {role} exists but was never '
        'called in its forward pass')
    assert 'such as decode_head.conv_seg' in told


def test_method_that_is_never_called():
    distiller = tiny.one_pair('backbone.stem', 'backbone.stem', FIRST)
    source = 'mmseg.models.EncoderDecoder.slide_inference'
    distiller['student_recorders']['map'] = dict(type='MethodOutputs', source=source)
    told = refused_at_first_batch(distiller)
    assert told.startswith(f'loss_map.preds_S: {source!r} of the student exists but')


def test_connector_of_other_channels():
    told = refused_at_first_batch(tiny.one_pair(
        'backbone.stem', 'backbone.stem', dict(in_channel=5, out_channel=6)))
    assert told.startswith(
        "loss_map.preds_S: the connector 'c' does not take (2, 4, 16, 16), what "
        "'map' recorded: ")
    assert '5 channels' in told


@pytest.mark.parametrize('connector', [None, dict(in_channel=4, out_channel=7)])
def test_maps_of_other_channels(connector):
    told = refused_at_first_batch(
        tiny.one_pair('backbone.stem', 'backbone.stem', connector))
    channels = 7 if connector else 4
    assert told.startswith(
        f'loss_map (NFDLoss) cannot compare its pair (preds_S (2, {channels}, 16, 16)'
        ', preds_T (2, 6, 32, 32)): ')
    assert 'different channels need a connector' in told


def test_maps_of_other_sizes():
    """A loss of MMRazor compares pixel with pixel, if nothing is resized."""
    distiller = tiny.one_pair('backbone.stem', 'backbone.stem', FIRST)
    mgd = dict(type='ChannelWiseDivergence')
    told = refused_at_first_batch({**distiller, 'distill_losses': dict(loss_map=mgd)})
    assert told.startswith(
        'loss_map (ChannelWiseDivergence) cannot compare its pair (preds_S '
        '(2, 6, 16, 16), preds_T (2, 6, 32, 32)): ')
    assert 'ResizeTeacherLoss' in told
    resized = dict(type='ResizeTeacherLoss', loss=mgd)
    model = tiny.build(
        distiller={**distiller, 'distill_losses': dict(loss_map=resized)})
    assert tiny.losses(model)['distill.loss_map'] > 0


@pytest.mark.parametrize(('where', 'index'), [
    (dict(data_idx=2), 'data_idx=2'),
    (dict(record_idx=1), 'data_idx=0, record_idx=1')])
def test_index_that_is_not_there(where, index):
    distiller = tiny.distiller()
    distiller['loss_forward_mappings']['loss_first']['preds_T'].update(where)
    assert refused_at_first_batch(distiller).startswith(
        f"loss_first.preds_T: there is no {index} in what 'backbone' of the teacher "
        'recorded, [[(2, 6, 32, 32), (2, 12, 16, 16)]]: ')


@pytest.mark.parametrize('role', ['student', 'teacher'])
def test_failure_of_a_network_keeps_its_own_error(role):
    """A forward pass that stops half-way says nothing about the pairs."""
    def fail(*_):
        raise OverflowError('elsewhere')

    model = tiny.build()
    net = model.student if role == 'student' else model.teacher.network
    net.decode_head.convs.register_forward_hook(fail)
    with pytest.raises(OverflowError, match='elsewhere'):
        tiny.losses(model)


def test_failure_of_the_students_loss_keeps_its_own_error():
    model = tiny.build()
    data = tiny.prepared(model)
    data['data_samples'][0].gt_sem_seg.data[:] = 77
    with pytest.raises((IndexError, RuntimeError)) as error:
        model(**data, mode='loss')
    assert '77' in str(error.value)


def test_table_of_all_pairs():
    model = tiny.build()
    with tiny.messages() as said:
        tiny.losses(model)
        tiny.losses(model)
    table, = [m for m in said if m.startswith('Distillation:')]
    rows = [
        [cell.strip() for cell in line.split('|')[1:-1]]
        for line in table.splitlines() if '|' in line]
    assert rows == [
        ['pair', 'teacher', 'student', 'connector', 'weight'],
        ['loss_first', 'backbone[0] (2, 6, 32, 32)', 'backbone[0] (2, 4, 16, 16)',
         'first (30 parameters)', '5.0'],
        ['loss_second', 'backbone[1] (2, 12, 16, 16)', 'backbone[1] (2, 8, 8, 8)',
         'second (108 parameters)', '2.5'],
        ['loss_logits', 'decode_head.conv_seg (2, 4, 16, 16)',
         'decode_head.conv_seg (2, 4, 8, 8)', '-', '0.5']]


def test_table_with_a_loss_of_mmrazor():
    """Its arguments have other names than ours."""
    distiller = tiny.one_pair('backbone.stem', 'backbone.stem', FIRST)
    loss = dict(type='ABLoss')
    mapping = dict(
        s_feature=dict(from_student=True, recorder='map', connector='c'),
        t_feature=dict(from_student=False, recorder='map'))
    model = tiny.build(
        student_size=None,
        distiller={**distiller, 'distill_losses': dict(loss_map=loss),
                   'loss_forward_mappings': dict(loss_map=mapping)})
    with tiny.messages() as said:
        assert torch.isfinite(tiny.losses(model)['distill.loss_map'])
    table, = [m for m in said if m.startswith('Distillation:')]
    assert [cell.strip() for cell in table.splitlines()[-2].split('|')[1:-1]] == [
        'loss_map', 'backbone.stem (2, 6, 32, 32)', 'backbone.stem (2, 4, 32, 32)',
        'c (30 parameters)', '1.0']


@pytest.mark.parametrize(('changes', 'message'), [
    (dict(loss_forward_mappings=None), 'the distiller compares nothing: give'),
    (dict(distill_losses=dict(
        tiny.distiller()['distill_losses'], loss_more=dict(type='PKLLoss'))),
     'distill_losses: loss_more has no entry in loss_forward_mappings'),
    (dict(connectors=dict(
        tiny.distiller()['connectors'],
        b=dict(type='ConvModuleConnector', **FIRST),
        a=dict(type='ConvModuleConnector', **FIRST))),
     'connectors: a, b is named by no entry of loss_forward_mappings'),
])
def test_what_has_no_part_in_a_pair(changes, message):
    assert message in refused_at_once(**changes)
