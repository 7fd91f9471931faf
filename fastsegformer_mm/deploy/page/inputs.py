"""Gradio's inputs for a picture and a video, which hand on the file as it was sent."""

from gradio.exceptions import InvalidPathError
from gradio_client.utils import is_http_url_like


def as_sent(component):
    """Make an input hand on where its file lies.

    Gradio's own would open a picture before anybody has looked at its size, and
    fetch a file where an address is sent in place of one. A subclass would do as
    well, but Gradio writes a file of stubs beside the module of each.

    Args:
        component (gr.Image | gr.Video): The input; it is changed.

    Returns:
        gr.Image | gr.Video: The same.
    """
    move = component.async_move_resource_to_block_cache

    async def move_file(path):
        if is_http_url_like(str(path)):
            raise InvalidPathError('expected a file that was sent, not an address')
        return await move(path)

    component.async_move_resource_to_block_cache = move_file
    component.preprocess = lambda payload: payload.path if payload else None
    return component
