"""What the server answers to, how many at a time, and what it leaves behind."""

import asyncio
import json
import os
import runpy
import threading
import uuid
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import httpx
import pytest
from gradio.exceptions import InvalidPathError

from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.page.inputs import as_sent
from fastsegformer_mm.deploy.page.limits import Limits
from fastsegformer_mm.deploy.page.server import FOLDER_VARIABLE, PageServer

CASE = Path(__file__).with_name('page_case.py')
case = SimpleNamespace(**runpy.run_path(str(CASE)))
PICTURE = case.png(case.frame())
LIMITS = Limits(megabytes=0.2, queue=2, concurrency=2, visitors=2)


@pytest.fixture(scope='module')
def served(tmp_path_factory):
    """A server, its segmentors, and a client of it."""
    folder = tmp_path_factory.mktemp('temporary')
    built = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('tempfile.tempdir', str(folder))
        models = case.models('thresholds', 'other', built=built)
        with (
            PageServer(models, LIMITS, port=case.free_port()) as server,
            httpx.Client(base_url=server.address, timeout=20) as client,
        ):
            calls = {d['id']: d for d in client.get('config').json()['dependencies']}
            yield SimpleNamespace(
                server=server, client=client, folder=folder, built=built, calls=calls
            )


class Visitor:
    """Asks as the page does, without a browser."""

    def __init__(self, served):
        self.client = served.client
        self.calls = {d['api_name']: k for k, d in served.calls.items()}
        self.session = uuid.uuid4().hex

    def upload(self, name, content):
        """Send a file; where the server has put it."""
        answer = self.client.post(
            'gradio_api/upload', files={'files': (name, content, 'image/png')}
        )
        answer.raise_for_status()
        return answer.json()[0]

    def join(self, call, *data):
        """Ask for a call; the answer to that."""
        body = dict(data=data, fn_index=self.calls[call], session_hash=self.session)
        return self.client.post('gradio_api/queue/join', json=body)

    def outcome(self):
        """What came of it: (whether it succeeded, the output)."""
        params = dict(session_hash=self.session)
        with self.client.stream('GET', 'gradio_api/queue/data', params=params) as lines:
            for line in lines.iter_lines():
                message = json.loads(line.removeprefix('data: ')) if line else {}
                if message.get('msg') == 'process_completed':
                    return message['success'], message['output']
        return None

    def show(self, path):
        """Ask for a picture on the server's disk."""
        data = dict(path=path, meta={'_type': 'gradio.FileData'})
        assert self.join('show_picture', data, 'thresholds', 'fp32').is_success
        return self.outcome()


def test_picture_without_a_browser(served):
    visitor = Visitor(served)
    succeeded, output = visitor.show(visitor.upload('a.png', PICTURE))
    assert succeeded
    assert 'ulcer 4.17 %' in output['data'][1]
    assert not [p for p in served.folder.rglob('*') if p.is_file()]


@pytest.mark.parametrize(
    'path',
    [
        'gradio_api/file=/etc/passwd',
        'gradio_api/file=../../../etc/passwd',
        'file=/etc/passwd',
        'gradio_api/file=http://127.0.0.1/',
        'gradio_api/proxy=http://127.0.0.1/',
        'static/../../../../../etc/passwd',
        'static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd',
        'assets/..%2f..%2f..%2f..%2fetc/passwd',
        'gradio_api/info',
        'gradio_api/openapi.json',
        'openapi.json',
        'docs',
        'gradio_api/deep_link',
        'monitoring',
    ],
)
def test_routes_that_are_not_there(served, path):
    answer = served.client.get(path)
    assert answer.status_code in (403, 404)
    assert 'root:' not in answer.text


def test_uploads_are_not_served(served):
    visitor = Visitor(served)
    path = visitor.upload('secret.png', PICTURE)
    assert Path(path).is_relative_to(served.server.folder)
    assert served.client.get(f'gradio_api/file={path}').status_code == 404
    Path(path).unlink()


@pytest.mark.parametrize('path', ['/etc/passwd', 'http://127.0.0.1:9/a.png'])
def test_only_what_was_sent_is_read(served, path):
    succeeded, output = Visitor(served).show(path)
    assert not succeeded
    assert 'root:' not in json.dumps(output)
    assert served.server.folder not in json.dumps(output)


def test_no_address_is_fetched(monkeypatch):
    """Not even one that Gradio's own guard against inner addresses lets through."""
    fetched = []

    async def fetch(url, **_):
        fetched.append(url)
        return __file__

    monkeypatch.setattr('gradio.processing_utils.async_ssrf_protected_download', fetch)
    component = as_sent(gr.Image())
    with pytest.raises(InvalidPathError, match='not an address'):
        asyncio.run(
            component.async_move_resource_to_block_cache('https://example.org/a.png')
        )
    assert not fetched


def test_names_do_not_leave_the_folder(served):
    path = Visitor(served).upload('../../../evil.png', PICTURE)
    assert Path(path).resolve().is_relative_to(served.server.folder)
    Path(path).unlink()


def test_bodies_have_a_length_and_a_limit(served):
    def parts():
        yield b'--x\r\n'

    kind = {'content-type': 'multipart/form-data; boundary=x'}
    answer = served.client.post('gradio_api/upload', content=parts(), headers=kind)
    assert answer.status_code == 411
    big = b'x' * (LIMITS.bytes + 200_000)
    answer = served.client.post('gradio_api/upload', files={'files': ('a', big)})
    assert answer.status_code == 413
    assert 'exceeds the maximum allowed size of 200000 bytes' in answer.text
    # what the form itself may take is not lent to the file
    big = b'x' * (LIMITS.bytes + 1000)
    answer = served.client.post('gradio_api/upload', files={'files': ('a', big)})
    assert answer.status_code == 413
    assert not [p for p in served.folder.rglob('*') if p.is_file()]


def test_headers(served):
    answer = served.client.get('')
    policy = answer.headers['content-security-policy']
    assert "default-src 'self'" in policy
    assert 'http' not in policy
    assert answer.headers['x-content-type-options'] == 'nosniff'
    assert answer.headers['cache-control'] == 'no-store'
    assert answer.headers['referrer-policy'] == 'no-referrer'


def test_nobody_else_is_asked_for_anything(served):
    config = served.client.get('config').json()
    assert config['analytics_enabled'] is False
    assert not config.get('is_space')
    fonts = served.client.get('theme.css').text
    assert '@import' not in fonts
    assert 'url(http' not in fonts
    assert '--font: system-ui' in fonts
    assert 'googleapis' not in served.client.get('').text


def test_messages_are_no_html(served, monkeypatch):
    """A name of a class or model comes from a file; a browser is to show it only."""

    def fail(frame):
        raise DeployError('no <img src=x onerror=alert(1)>')

    monkeypatch.setattr(served.built[0], 'segment', fail)
    visitor = Visitor(served)
    succeeded, output = visitor.show(visitor.upload('a.png', PICTURE))
    assert not succeeded
    assert output['error'] == 'no &lt;img src=x onerror=alert(1)&gt;'


def test_an_error_that_nobody_foresaw(served, monkeypatch, caplog):
    monkeypatch.setattr('fastsegformer_mm.deploy.page.page.picture_result', None)
    visitor = Visitor(served)
    succeeded, output = visitor.show(visitor.upload('a.png', PICTURE))
    assert not succeeded
    assert output['error'].startswith('This could not be done (TypeError); the log')
    assert 'NoneType' in caplog.text


def test_queue_and_concurrency(served, monkeypatch):
    """Two are worked on, two wait, the fifth is told that it is full."""
    go, working = threading.Event(), []

    def slow(frame):
        working.append(frame)
        assert go.wait(20)
        return case.Thresholds().segment(frame)

    monkeypatch.setattr(served.built[0], 'segment', slow)
    visitors = [Visitor(served) for _ in range(5)]
    data = dict(meta={'_type': 'gradio.FileData'})
    answers = []
    try:
        for k, visitor in enumerate(visitors):
            data['path'] = visitor.upload(f'{k}.png', PICTURE)
            ask = ('show_picture', dict(data), 'thresholds', 'fp32')
            answers.append(visitor.join(*ask).status_code)
            if k < 2:
                case.until(lambda k=k: len(working) == k + 1)
    finally:
        go.set()
    assert answers == [200, 200, 200, 200, 503]
    assert [visitor.outcome()[0] for visitor in visitors[:4]] == [True] * 4
    Path(data['path']).unlink()


def test_the_last_upload_of_some_visitors_is_kept(served):
    visitors = [Visitor(served) for _ in range(3)]
    for visitor in visitors:
        visitor.show(visitor.upload('a.png', PICTURE))
    seen = len(served.built[1].frames)
    for visitor in visitors[::-1]:
        visitor.join('again', None, 'other', 'fp32', 50, False)
        assert visitor.outcome()[0]
    # the first one's was forgotten for the third's
    assert len(served.built[1].frames) == seen + 2


def test_server_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    before = os.environ.get(FOLDER_VARIABLE)
    port = case.free_port()
    with PageServer(case.models(), port=port) as server:
        (folder,) = tmp_path.iterdir()
        assert os.environ[FOLDER_VARIABLE] == str(folder)
        assert folder.stat().st_mode & 0o777 == 0o700
        assert server.address == f'http://127.0.0.1:{port}/'
        with httpx.Client(base_url=server.address) as client:
            client.post('gradio_api/upload', files={'files': ('a.png', PICTURE)})
        assert [p.name for p in folder.rglob('*.png')] == ['a.png']
        with pytest.raises(DeployError, match=f'127.0.0.1:{port} cannot be served'):
            PageServer(case.models(), port=port)
        assert os.environ[FOLDER_VARIABLE] == str(folder)
    assert not list(tmp_path.iterdir())
    assert os.environ.get(FOLDER_VARIABLE) == before
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.address)
