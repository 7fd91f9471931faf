"""URLs: downloaded once, and nothing but a sound file stays in the cache."""

import functools
import http.server
import io
import threading
from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import CheckpointLoader

from fastsegformer_mm.engine.checkpoint import (
    CheckpointError,
    download,
    read_checkpoint,
)

WEIGHTS = {'w': torch.arange(20000.0)}


def saved(**kwargs):
    buffer = io.BytesIO()
    torch.save(WEIGHTS, buffer, **kwargs)
    return buffer.getvalue()


PAGES = {
    '/ok.pth': saved(),
    '/legacy.pth': saved(_use_new_zipfile_serialization=False),
    '/login.pth': b'<!DOCTYPE html><title>Sign in</title>',
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        path = self.path.removesuffix('?short')
        data = PAGES.get(path)
        if data is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if '?short' in self.path else data)

    def log_message(self, *args):
        pass


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'hub'))
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.asked = []
    threading.Thread(
        target=functools.partial(server.serve_forever, 0.01), daemon=True
    ).start()
    yield SimpleNamespace(
        url=f'http://127.0.0.1:{server.server_port}',
        asked=server.asked,
        cache=tmp_path / 'hub' / 'hub' / 'checkpoints',
    )
    server.shutdown()
    server.server_close()


def cached(site):
    return sorted(p.name for p in site.cache.glob('*') if p.is_file())


@pytest.mark.parametrize('load', [read_checkpoint, CheckpointLoader.load_checkpoint])
@pytest.mark.parametrize('name', ['ok.pth', 'legacy.pth'])
def test_once(site, load, name):
    for _ in range(2):
        assert torch.equal(load(f'{site.url}/{name}')['w'], WEIGHTS['w'])
    assert site.asked == [f'/{name}']
    assert cached(site) == [name]
    assert [p.name for p in site.cache.iterdir()] == [name]


@pytest.mark.parametrize(
    ('path', 'told'),
    [
        ('login.pth', r"is an HTML page \('Sign in'\)"),
        ('ok.pth?short', 'is truncated: .* stops after 40,'),
        ('legacy.pth?short', 'is truncated: .* stops after 40,'),
        ('absent.pth', r'cannot be downloaded \(HTTP Error 404'),
    ],
)
@pytest.mark.parametrize('scheme', ['', 'unsafe-pickle://'])
def test_nothing_wrong_is_kept(site, path, told, scheme):
    for load in (read_checkpoint, CheckpointLoader.load_checkpoint):
        with pytest.raises(CheckpointError, match=told) as error:
            load(f'{scheme}{site.url}/{path}')
        assert f"checkpoint '{site.url}/{path}'" in str(error.value)
    assert list(site.cache.iterdir()) == []


def test_no_such_host(site):
    with pytest.raises(CheckpointError, match=r"127\.0\.0\.1:9/a\.pth' cannot be down"):
        read_checkpoint('http://127.0.0.1:9/a.pth')


def test_what_another_program_left_in_the_cache(site):
    """torch's own loader keeps a truncated download."""
    site.cache.mkdir(parents=True)
    file = site.cache / 'ok.pth'
    file.write_bytes(saved()[:1000])
    with pytest.raises(
        CheckpointError,
        match=(rf'is truncated: .*earlier, as {file}: delete that file'),
    ):
        read_checkpoint(f'{site.url}/ok.pth')
    assert site.asked == []
    file.unlink()
    assert read_checkpoint(f'{site.url}/ok.pth')['w'][3] == 3


class Processes:
    """Two processes one after the other: what the first tells, the second hears."""

    def __init__(self, monkeypatch):
        self.rank, self.told = 0, None
        monkeypatch.setattr(download, 'get_dist_info', lambda: (self.rank, 2))
        monkeypatch.setattr(download, 'broadcast_object_list', self.broadcast)

    def broadcast(self, data):
        if self.rank == 0:
            self.told = list(data)
        else:
            data[:] = self.told


def test_the_first_process_downloads(site, monkeypatch):
    processes = Processes(monkeypatch)
    for processes.rank in (0, 1):
        assert read_checkpoint(f'{site.url}/ok.pth')['w'][3] == 3
    assert site.asked == ['/ok.pth']


def test_all_processes_fail_when_the_first_does(site, monkeypatch):
    """Without waiting for a file that does not come."""
    processes = Processes(monkeypatch)
    for processes.rank in (0, 1):
        with pytest.raises(CheckpointError, match='HTTP Error 404'):
            read_checkpoint(f'{site.url}/absent.pth')
    assert site.asked == ['/absent.pth']


def test_a_process_of_another_node_has_a_cache_of_its_own(site, monkeypatch, tmp_path):
    processes = Processes(monkeypatch)
    for processes.rank in (0, 1):
        monkeypatch.setenv('TORCH_HOME', str(tmp_path / f'node{processes.rank}'))
        assert read_checkpoint(f'{site.url}/ok.pth')['w'][3] == 3
    assert site.asked == ['/ok.pth', '/ok.pth']
