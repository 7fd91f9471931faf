from .version import __version__
from . import datasets, engine, evaluation, models
