"""The page: where a picture or video goes in, and what was found comes out."""

import functools
import html
import logging
from dataclasses import dataclass

import gradio as gr

from fastsegformer_mm.deploy.errors import DeployError

from .inputs import as_sent
from .limits import Limits
from .models import Models
from .results import VideoResult, card_html, picture_result
from .uploads import PICTURE_NAMES, VIDEO_NAMES, Upload, take

logger = logging.getLogger(__name__)
TITLE = 'Surface defects'
OPACITY = 50
EMPTY = (
    '<div class="fsf-empty"><p><strong>Nothing sent yet</strong></p><p>Drop a picture '
    'or a video on the left, paste one, or use the camera.</p></div>'
)
# a browser encodes its recording as it goes: no more than a modest computer can
CAMERA = {'video': {'width': {'ideal': 1280}, 'height': {'ideal': 720}}}
# how often uploads that nobody asked about are swept, and from which age, in seconds
SWEEP = (60, 900)
# Gradio knows by a default of this kind that a function tells how far it is
PROGRESS = gr.Progress()


@dataclass
class Kept:
    """A visitor's last upload, in memory.

    Args:
        upload (Upload): As it was sent.
        video (VideoResult, optional): What came of it, where it is a video.
    """

    upload: Upload
    video: VideoResult | None = None


class Page:
    """The page of some models.

    Args:
        models (Models): To choose from.
        limits (Limits): Of each visitor.
    """

    def __init__(self, models: Models, limits: Limits):
        self.models = models
        self.limits = limits

    def blocks(self) -> gr.Blocks:
        """The page in Gradio's terms."""
        first = self.models.names[0]
        choices = self.models.precisions(first)
        with gr.Blocks(
            title=TITLE, analytics_enabled=False, delete_cache=SWEEP, fill_width=True
        ) as blocks:
            kept = gr.State(None)
            _html(
                f'<header class="fsf-title"><h1>{TITLE}</h1><p>Finds defects in '
                'pictures and videos. Nothing that you send is kept.</p></header>'
            )
            with gr.Row():
                model = gr.Dropdown(
                    self.models.names,
                    value=first,
                    label='Model',
                    scale=3,
                    min_width=240,
                )
                precision = gr.Dropdown(
                    choices, value=choices[0], label='Precision', scale=1, min_width=140
                )
            card = _html(card_html(*self.models.describe(first, choices[0])))
            with gr.Row(equal_height=False):
                with gr.Column(scale=2, min_width=300):
                    picture, video = self._inputs()
                    opacity = gr.Slider(0, 100, OPACITY, step=1, label='Opacity, %')
                    boxes = gr.Checkbox(False, label='Boxes around regions')
                with gr.Column(scale=5, min_width=320):
                    result = _html(EMPTY, 'fsf-output')
            how = [model, precision, opacity, boxes]
            out = [kept, result]
            sent = self._on(
                picture.input, self.show_picture, [picture, model, precision], out
            )
            _cleared_after(sent, picture)
            # a recording is no input in Gradio's terms
            for event in (video.input, video.stop_recording):
                sent = self._on(event, self.show_video, [video, *how], out)
                _cleared_after(sent, video)
            # not `input`, which Gradio tells twice for one choice
            chosen = self._on(model.select, self.choose, model, [precision, card])
            self._on(chosen.success, self.again, [kept, *how], out)
            chosen = self._on(precision.select, self.describe, [model, precision], card)
            self._on(chosen.success, self.again, [kept, *how], out)
            for control, function in ((opacity, 'fsfOpacity'), (boxes, 'fsfBoxes')):
                # a picture's overlay is the browser's business
                control.change(
                    None, control, None, js=f'(value) => {{ {function}(value); }}'
                )
                # a video's is painted anew; only the last of many moves counts
                control.change(
                    self.repaint,
                    [kept, opacity, boxes],
                    result,
                    api_visibility='private',
                    trigger_mode='always_last',
                    show_progress='hidden',
                )
        blocks.queue(
            max_size=self.limits.queue,
            default_concurrency_limit=self.limits.concurrency,
            api_open=False,
        )
        return blocks

    def _inputs(self):
        limits = self.limits
        with gr.Tabs():
            with gr.Tab('Picture'):
                picture = gr.Image(
                    type='filepath',
                    sources=['upload', 'webcam', 'clipboard'],
                    label='Picture',
                    elem_classes='fsf-input',
                    show_label=False,
                    height=260,
                    buttons=[],
                    webcam_options=gr.WebcamOptions(mirror=False),
                )
                gr.Markdown(
                    f'{PICTURE_NAMES}; at most {limits.megabytes:g} MB and '
                    f'{limits.megapixels:g} megapixels.'
                )
            with gr.Tab('Video'):
                video = gr.Video(
                    sources=['upload', 'webcam'],
                    label='Video',
                    elem_classes='fsf-input',
                    show_label=False,
                    height=260,
                    buttons=[],
                    include_audio=True,
                    webcam_options=gr.WebcamOptions(mirror=False, constraints=CAMERA),
                )
                gr.Markdown(
                    f'{VIDEO_NAMES}; at most {limits.megabytes:g} MB, '
                    f'{limits.seconds:g} seconds and {limits.frames:,} frames.'
                )
        return as_sent(picture), as_sent(video)

    @staticmethod
    def _on(event, function, inputs, outputs):
        return event(_told(function), inputs, outputs, api_visibility='private')

    def show_picture(self, path, model, precision):
        """A picture was sent."""
        if path is None:
            return gr.skip(), gr.skip()
        return self._picture(take(path), model, precision)

    def show_video(self, path, model, precision, opacity, boxes, progress=PROGRESS):
        """A video was sent."""
        if path is None:
            return gr.skip(), gr.skip()
        return self._video(take(path), model, precision, opacity, boxes, progress)

    def again(self, kept, model, precision, opacity, boxes, progress=PROGRESS):
        """Another model was chosen: the last upload once more."""
        if kept is None:
            return gr.skip(), gr.skip()
        if kept.video is None:
            return self._picture(kept.upload, model, precision)
        return self._video(kept.upload, model, precision, opacity, boxes, progress)

    def _picture(self, upload, model, precision):
        shown = picture_result(upload, self.models, model, precision, self.limits)
        return Kept(upload), shown

    def _video(self, upload, model, precision, opacity, boxes, progress):
        video = VideoResult.of(
            upload,
            self.models,
            model,
            precision,
            self.limits,
            lambda *done: progress(done, unit='frames'),
        )
        return Kept(upload, video), video.html(self.limits, opacity / 100, boxes)

    def repaint(self, kept, opacity, boxes):
        """The overlay of a video is to look otherwise."""
        if kept is None or kept.video is None:
            return gr.skip()
        return kept.video.html(self.limits, opacity / 100, boxes)

    def choose(self, model):
        """A model was chosen: its precisions and its card."""
        choices = self.models.precisions(model)
        card = self.describe(model, choices[0])
        return gr.Dropdown(choices, value=choices[0]), card

    def describe(self, model, precision):
        """The card of a model."""
        return card_html(*self.models.describe(model, precision))


def _html(value, elem_id=None):
    return gr.HTML(value, elem_id=elem_id, js_on_load=None, apply_default_css=False)


def _cleared_after(sent, component):
    """Empty an input again, ready for the next file, whatever came of this one."""
    for outcome in (sent.success, sent.failure):
        outcome(None, None, component, js='() => null')


def _told(function):
    """The function, whose errors are told to the visitor."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except DeployError as error:
            # the message becomes HTML, and a file may have any name
            message = html.escape(str(error))
        except Exception as error:
            logger.exception('%s failed', function.__name__)
            message = (
                f'This could not be done ({type(error).__name__}); the log of the '
                'server says more.'
            )
        raise gr.Error(message, duration=None, print_exception=False)

    return wrapped
