"""SEKD: multi-level distillation of SegFormer.

Importing it registers the connectors and losses of the project with MMRazor; a
config does it by ``custom_imports = dict(imports=['sekd'])``.
"""
