"""A page in the browser: drop a picture or a video, see the defects.

``tools/demo/app.py`` serves it. Gradio, of the extra ``page``, is imported with
``page``, ``inputs`` and ``server`` only.
"""
