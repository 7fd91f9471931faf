"""Transforms."""
import importlib

# interim: filled while the parts arrive
for _m, _n in (
        ('random_scale_paste', 'RandomScalePaste'),
        ('letter_box', 'LetterBox'),
        ('random_hsv', 'RandomHSV'),
):
    try:
        globals()[_n] = getattr(importlib.import_module(f"{__name__}.{_m}"), _n)
    except ModuleNotFoundError as e:
        print("interim: missing", e)
