"""The page in a real browser."""

import csv
import io
import runpy
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from fastsegformer_mm.deploy.page.limits import Limits
from fastsegformer_mm.deploy.page.server import PageServer
from fastsegformer_mm.deploy.prediction.measure import measure

CASE = Path(__file__).with_name('page_case.py')
case = SimpleNamespace(**runpy.run_path(str(CASE)))
FRAME = case.frame()
SOON = 15_000


@pytest.fixture(scope='module')
def context():
    """A browser; its pages share what they have loaded of Gradio."""
    with case.chromium() as browser:
        yield browser.new_context(permissions=['camera', 'microphone'])


@pytest.fixture(scope='module')
def served(tmp_path_factory):
    """The server, the segmentors that it built, and the machine's temporary folder."""
    built = []
    folder = tmp_path_factory.mktemp('temporary')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('tempfile.tempdir', str(folder))
        limits = Limits(megabytes=0.5, megapixels=1, frames=100)
        models = case.models('thresholds', 'other', built=built)
        with PageServer(models, limits, port=case.free_port()) as server:
            yield SimpleNamespace(
                address=server.address, built=built, folder=folder, server=server
            )
    assert not list(folder.iterdir())


@pytest.fixture
def page(context, served):
    """The page, just opened; it must load nothing from anywhere else."""
    page = context.new_page()
    page.set_default_timeout(SOON)
    asked = []
    page.on('request', lambda request: asked.append(request.url))
    page.goto(served.address)
    page.wait_for_selector('.fsf-empty')
    yield page
    page.close()
    here = (served.address, f'blob:{served.address}', 'data:')
    assert [url for url in asked if not url.startswith(here)] == []


def send(page, name, content, kind='image/png'):
    files = [dict(name=name, mimeType=kind, buffer=content)]
    page.set_input_files('.fsf-input:visible input[type=file]', files)


def result_of(page, name):
    """The result that is shown, once it is that of a file."""
    page.wait_for_selector(f'.fsf-result[aria-label="Result for {name}"]')
    return page.locator('.fsf-result')


def cells(page):
    """{class: what stands in its row}."""
    rows = page.locator('.fsf-result tbody tr').all()
    return {
        row.get_attribute('data-class'): [
            cell.inner_text().strip() for cell in row.locator('td').all()
        ]
        for row in rows
    }


def frames_seen(served):
    return sum(len(model.frames) for model in served.built)


def downloaded(page, words):
    with page.expect_download() as download:
        page.get_by_role('link', name=words).click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def left(served):
    """What lies in the temporary folder, without the server's own empty folder."""
    return [path for path in served.folder.rglob('*') if path.is_file()]


def message(page):
    """The message that was told; it is closed."""
    toast = page.locator('.toast-body')
    toast.wait_for()
    text = toast.inner_text()
    page.locator('.toast-close').click()
    toast.wait_for(state='detached')
    return text


def test_picture(page, served):
    assert page.title() == 'Surface defects'
    assert page.locator('html').get_attribute('lang') == 'en'
    assert 'fp32 on torch' in page.locator('.fsf-card').inner_text()
    assert page.locator('.fsf-warning').count() == 0
    send(page, 'orange.png', case.png(FRAME))
    result = result_of(page, 'orange.png')
    assert result.locator('.fsf-photo').is_visible()
    mask = case.Thresholds().segment(FRAME).mask
    figures = measure(mask, case.Thresholds().card)
    found = cells(page)
    for name, f in figures.items():
        x, y, w, h = f.boxes[0]
        assert found[name] == [
            f'{100 * f.share:.2f} %',
            str(f.pixels),
            str(f.regions),
            str(f.largest),
            f'{w} x {h} at {x}, {y}',
        ]
    assert figures['ulcer'].pixels == 200
    assert found['background'][:2] == ['95.17 %', '4,568']
    times = result.locator('dl div').all_inner_texts()
    assert [t.split() for t in times][1:4] == [
        ['preprocess', '1.0', 'ms'],
        ['network', '10.0', 'ms'],
        ['postprocess', '2.0', 'ms'],
    ]
    name, content = downloaded(page, 'Mask (PNG)')
    assert name == 'orange_mask.png'
    np.testing.assert_array_equal(Image.open(io.BytesIO(content)), mask)
    name, content = downloaded(page, 'Table (CSV)')
    assert name == 'orange.csv'
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert [(r['source'], r['class'], r['pixels'], r['regions']) for r in rows] == [
        ('orange.png', 'ulcer', '200', '1'),
        ('orange.png', 'wind scarring', '32', '2'),
    ]
    assert left(served) == []


def test_overlay_changes_without_the_network(page, served):
    send(page, 'a.png', case.png(FRAME))
    result_of(page, 'a.png')
    seen = frames_seen(served)

    def colours():
        shot = page.locator('.fsf-stack').screenshot()
        shot = cv2.imdecode(np.frombuffer(shot, np.uint8), cv2.IMREAD_COLOR)
        shot = cv2.resize(shot, FRAME.shape[1::-1], interpolation=cv2.INTER_AREA)
        return shot[15, 15].astype(int), shot[30, 40].astype(int)

    slider = page.locator('input[type=range]')
    for percent in (0, 50, 100):
        slider.fill(str(percent))
        page.wait_for_function(
            f"getComputedStyle(document.querySelector('.fsf-overlay')).opacity"
            f" == '{percent / 100:g}'"
        )
        defect, background = colours()
        # the ulcer's green over green of 230, and blue and red of 40
        expected = np.array([40, 230, 40]) * (1 - percent / 100)
        expected += np.array([0, 255, 0]) * percent / 100
        assert np.abs(defect - expected).max() < 12
        assert np.abs(background - 40).max() < 12
    box = page.locator('.fsf-boxes rect').first
    assert not box.is_visible()
    page.get_by_label('Boxes around regions').check()
    box.wait_for()
    assert [box.get_attribute(k) for k in ('x', 'y', 'width', 'height')] == [
        '5',
        '10',
        '20',
        '10',
    ]
    assert frames_seen(served) == seen


LONG = np.zeros((70_000, 9, 3), np.uint8)
PAGES = cv2.imencodemulti('.tif', [FRAME, FRAME])[1].tobytes()
BAD = [
    ('tool.jpg', b'MZ\x90\x00' * 99, 'tool.jpg is a Windows program, not a picture'),
    ('page.png', b'<html><b>x</b></html>', 'page.png is an HTML page'),
    ('art.png', b'<svg onload="alert(1)"/>', 'art.png is an SVG drawing'),
    ('bomb.png', case.bomb(), 'bomb.png has more than 1 megapixels'),
    ('large.png', case.png(np.zeros((1001, 1000), np.uint8)), '1000 x 1001 pixels'),
    ('cut.jpg', case.jpeg(FRAME)[:-200], 'cut.jpg is broken or cut off'),
    (
        'white.png',
        case.png(np.full((9, 9, 3), 255, np.uint8)),
        'thresholds failed on this one (RuntimeError)',
    ),
    (
        'deep.png',
        cv2.imencode('.png', np.full((9, 9), 4095, np.uint16))[1].tobytes(),
        'deep.png: 16 bits a channel, values 4095 to 4095; expected 8',
    ),
    ('pages.tif', PAGES, 'pages.tif: 2 pages or frames in one file; expected one'),
]


def test_bad_files_are_told_and_the_next_goes_on(page, served):
    for name, content, words in BAD:
        send(page, name, content)
        assert words in message(page)
        assert left(served) == []
    # of odd sizes and names
    for name, frame in (('橙 1.png', FRAME[:1, :1]), ('long.png', LONG)):
        send(page, name, case.png(frame))
        assert result_of(page, name).count() == 1
    send(page, 'good.png', case.png(FRAME))
    result_of(page, 'good.png')
    # what is shown is still that of the last good one
    send(page, *BAD[0][:2])
    assert 'Windows program' in message(page)
    assert page.locator('figcaption strong').inner_text() == 'good.png'


def test_too_many_bytes(page, served):
    noise = np.random.default_rng(0).integers(0, 255, (500, 500, 3), np.uint8)
    send(page, 'heavy.png', case.png(noise))
    assert 'maximum allowed size' in message(page)
    assert left(served) == []


def test_model_and_precision(page, served):
    send(page, 'a.png', case.png(FRAME))
    result_of(page, 'a.png')
    seen = len(served.built[1].frames)

    def choose(label, option):
        page.get_by_label(label).click()
        page.get_by_role('option', name=option).click()

    choose('Model', 'other')
    page.wait_for_function(
        "document.querySelector('.fsf-card strong').innerText == 'other'"
    )
    choose('Precision', 'bf16')
    page.wait_for_function(
        "document.querySelector('.fsf-card').innerText.includes('bf16 on torch')"
    )
    case.until(lambda: len(served.built) == 3 and served.built[2].frames)
    assert len(served.built[1].frames) == seen + 1
    assert (served.built[2].card.name, served.built[2].backend.precision) == (
        'other',
        'bf16',
    )
    (frame,) = served.built[2].frames
    np.testing.assert_array_equal(frame, FRAME)


def test_video(page, served):
    frames = [case.frame(4 * k) for k in range(10)]
    page.get_by_role('tab', name='Video').click()
    send(page, 'line.webm', case.video(frames, 10), 'video/webm')
    result_of(page, 'line.webm')
    page.wait_for_function("document.querySelector('.fsf-video').currentTime > 0.2")
    state = page.evaluate(
        """() => { const v = document.querySelector('.fsf-video');
        return [v.readyState >= 2, v.videoWidth, v.videoHeight, v.error]; }"""
    )
    assert state == [True, 80, 60, None]
    found = cells(page)
    assert found['ulcer'][2:4] == ['10 of 10', '1']
    assert abs(float(found['ulcer'][0].split()[0]) - 100 * 200 / 4800) < 0.6
    _, content = downloaded(page, 'Table per frame (CSV)')
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert [int(r['frame']) for r in rows] == [k for k in range(10) for _ in range(2)]
    assert rows[-1]['seconds'] == '0.9'
    assert page.locator('.toast-body').count() == 0
    seen = frames_seen(served)
    before = page.locator('.fsf-video').get_attribute('src')
    page.locator('input[type=range]').fill('90')
    page.wait_for_function(
        "before => document.querySelector('.fsf-video').src != before", arg=before
    )
    assert frames_seen(served) == seen
    assert left(served) == []


def test_bad_videos(page, served):
    page.get_by_role('tab', name='Video').click()
    for name, content, words in (
        ('list.mp4', b'#EXTM3U\nfile:///etc/passwd\n', 'list.mp4 is a text, not a'),
        ('long.webm', case.video([FRAME] * 101), 'more than 100 frames'),
        ('cut.mp4', case.video([FRAME] * 9, 9, 'mp4', 'mp4v')[:900], 'broken, cut off'),
    ):
        send(page, name, content, 'video/mp4')
        assert words in message(page)
        assert left(served) == []


def test_camera(page, served):
    page.get_by_label('Capture from camera').click()
    page.get_by_text('Click to Access Webcam').click()
    page.wait_for_function("document.querySelector('video')?.currentTime > 0.1")
    # a picture of the camera is larger than what this page takes
    page.get_by_label('capture photo').click()
    assert 'megapixels; this page takes 1 at most' in message(page)


def test_recording(page, served):
    page.get_by_role('tab', name='Video').click()
    page.get_by_label('Capture from camera').locator('visible=true').click()
    page.get_by_text('Click to Access Webcam').locator('visible=true').click()
    button = page.get_by_label('start recording')
    button.click()
    page.wait_for_timeout(1500)
    # its label stays
    button.click()
    result_of(page, 'sample.webm')
    page.wait_for_function("document.querySelector('.fsf-video').videoWidth == 960")
    assert (
        '1280 \N{MULTIPLICATION SIGN} 720 pixels'
        in page.locator('figcaption').inner_text()
    )
    assert left(served) == []


def test_narrow_window(page):
    page.set_viewport_size(dict(width=380, height=800))
    send(page, 'a.png', case.png(FRAME))
    result_of(page, 'a.png')
    wide = page.evaluate('document.documentElement.scrollWidth')
    assert wide <= 380
    # the table is wider, and can be reached
    moved = page.evaluate(
        """() => { const box = document.querySelector('.fsf-scroll');
        box.scrollLeft = 999; return box.scrollLeft; }"""
    )
    assert moved > 0
