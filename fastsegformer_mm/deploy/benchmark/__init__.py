"""Speed, memory and agreement of networks on every runtime, measured in turns.

``tools/analysis_tools/benchmark.py`` is its command line.
"""
