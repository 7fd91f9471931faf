"""The command ``fastsegformer``, and what the tools' command lines share.

It stands beside ``fastsegformer_mm``, whose import takes seconds: nothing here imports
more than the standard library before a command line has been read.
"""
