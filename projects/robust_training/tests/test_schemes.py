"""All that MMEngine loads goes through read_checkpoint."""

import json
import sys
from types import SimpleNamespace

import pytest
import torch
from mmengine.fileio import BaseStorageBackend, io
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint

from fastsegformer_mm.engine.checkpoint import CheckpointError
from robust_training import schemes

WEIGHTS = {'backbone.w': torch.arange(3.0), 'head.w': torch.ones(1)}


@pytest.fixture
def served(monkeypatch):
    """What is asked for by URL; the download itself has a test of its own."""
    asked = []

    def read(path, map_location=None):
        asked.append(path)
        return dict(state_dict=dict(WEIGHTS), meta=dict(cfg='import os'))

    monkeypatch.setattr(schemes, 'read_checkpoint', read)
    return asked


def test_every_loader_is_ours():
    modules = {f.__module__ for f in CheckpointLoader._schemes.values()}
    assert modules == {schemes.__name__}
    assert len(CheckpointLoader._schemes) == 12


def test_installing_again_changes_nothing():
    before = dict(CheckpointLoader._schemes)
    schemes.install_loaders()
    assert list(CheckpointLoader._schemes.items()) == list(before.items())


@pytest.mark.parametrize(
    ('name', 'url'),
    [
        ('open-mmlab://resnet50_v1c', '/third_party/resnet50_v1c-2cccc1ad.pth'),
        ('openmmlab://resnet50_v1c', '/third_party/resnet50_v1c-2cccc1ad.pth'),
        ('open-mmlab://resnet50_caffe', 'third_party/resnet50_caffe-788b5fa3.pth'),
        ('torchvision://resnet18', '//download.pytorch.org/models/resnet18-'),
        ('modelzoo://resnet18', '//download.pytorch.org/models/resnet18-'),
        ('torchvision://resnet18.imagenet1k_v1', '/models/resnet18-'),
        ('https://host/a.pth', 'https://host/a.pth'),
        ('http://host/a.pth', 'http://host/a.pth'),
    ],
)
def test_names_of_urls(served, name, url):
    content = CheckpointLoader.load_checkpoint(name)
    assert content['state_dict'] == WEIGHTS
    assert content['meta'] == dict(cfg_text='import os')
    (asked,) = served
    assert asked.startswith(('https://', 'http://'))
    assert url in asked


def test_backbone_of_a_classifier(served):
    content = CheckpointLoader.load_checkpoint('mmcls://mobilenet_v2')
    assert list(content['state_dict']) == ['w']
    assert 'mobilenet_v2' in served[0]


@pytest.mark.parametrize('scheme', ['torchvision', 'open-mmlab', 'mmcls'])
def test_unknown_name(served, scheme):
    with pytest.raises(
        CheckpointError,
        match=(
            rf"checkpoint '{scheme}://resnt18' is not in the table of {scheme}:// "
            r'\(\d+ names, such as .*resn'
        ),
    ):
        CheckpointLoader.load_checkpoint(f'{scheme}://resnt18')
    assert served == []


@pytest.mark.parametrize('variable', ['MMENGINE_HOME', 'XDG_CACHE_HOME'])
def test_a_users_table_of_files(tmp_path, monkeypatch, variable):
    monkeypatch.delenv('MMENGINE_HOME', raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    home = tmp_path if variable == 'MMENGINE_HOME' else tmp_path / 'mmengine'
    home.mkdir(exist_ok=True)
    torch.save(WEIGHTS, home / 'mine.pth')
    (home / 'open_mmlab.json').write_text(json.dumps({'mine': 'mine.pth'}))
    content = CheckpointLoader.load_checkpoint('open-mmlab://mine')
    assert content['backbone.w'].tolist() == [0, 1, 2]


@pytest.fixture
def store(tmp_path):
    """A store of objects, and one of models."""
    file = tmp_path / 'stored'
    torch.save(dict(WEIGHTS, meta=dict(config='import os')), file)
    return file


def check(path, file):
    content = CheckpointLoader.load_checkpoint(path)
    assert content['backbone.w'].tolist() == [0, 1, 2]
    assert content['meta'] == dict(config_text='import os')
    file.write_bytes(b'<html>')
    with pytest.raises(CheckpointError, match=f"checkpoint '{path}' is an HTML page"):
        CheckpointLoader.load_checkpoint(path)


@pytest.mark.parametrize('path', ['s3://b/a.pth', 'petrel://b/a.pth', 'x:s3://b/a.pth'])
def test_object_stores(store, path, monkeypatch):
    class Backend(BaseStorageBackend):
        def get(self, filepath):
            assert filepath == path
            return store.read_bytes()

        def get_text(self, filepath):
            raise NotImplementedError

    monkeypatch.setattr(io, 'backend_instances', {})
    monkeypatch.setitem(io.backends, 'petrel', Backend)
    check(path, store)


def test_model_store(store, monkeypatch):
    class Model:
        def download(self, path):
            with open(path, 'wb') as out:
                out.write(store.read_bytes())

    monkeypatch.setitem(
        sys.modules,
        'pavi',
        SimpleNamespace(modelcloud=SimpleNamespace(get={'team/a.pth': Model()}.get)),
    )
    check('pavi://team/a.pth', store)
    monkeypatch.setitem(sys.modules, 'pavi', None)
    with pytest.raises(ImportError, match=r'pavi:// needs the package pavi'):
        CheckpointLoader.load_checkpoint('pavi://team/a.pth')


def test_what_is_no_dict_is_left_alone(tmp_path):
    torch.save([torch.ones(2)], tmp_path / 'a.pth')
    (tensor,) = CheckpointLoader.load_checkpoint(str(tmp_path / 'a.pth'))
    assert tensor.tolist() == [1, 1]


def test_map_location(tmp_path):
    torch.save(WEIGHTS, tmp_path / 'a.pth')
    path = str(tmp_path / 'a.pth')
    for name in (path, f'unsafe-pickle://{path}'):
        loaded = mmengine_checkpoint._load_checkpoint(name, map_location='meta')
        assert loaded['head.w'].is_meta
