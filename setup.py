"""Packaging of fastsegformer_mm.

No stack is forced on a user who has one: ``torch``, ``mmengine``, ``mmcv``,
``mmsegmentation`` and ``mmpretrain`` come with the extras ``onedl`` or
``openmmlab``, and ``import fastsegformer_mm`` says what is missing.
"""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent

# `mim train fastsegformer_mm CONFIG` looks for these below PACKAGE/.mim, the
# convention of all OpenMMLab packages.
MIM_PARTS = ('configs', 'projects', 'tools', 'model-index.yml')

NAME = 'fastsegformer_mm'

# {module: its folder}: projects/NAME/NAME is installed as the module NAME, which
# that project's configs import.
PROJECTS = {
    folder.name: f'projects/{folder.name}/{folder.name}'
    for folder in sorted(ROOT.glob('projects/*'))
    if (folder / folder.name / '__init__.py').is_file()
}
# the console command, which runs the scripts beside it
CLI = 'fastsegformer_cli'


def not_for_mim(folder: str, names: list[str]) -> set[str]:
    """What is no config, tool or document: caches, and projects' code and tests."""
    out = set(shutil.ignore_patterns('__pycache__', '*.pyc')(folder, names))
    if Path(folder).parent.name == 'projects':
        out |= {'tests', Path(folder).name} & set(names)
    return out | {CLI} & set(names)


def copy_mim_parts(target: Path):
    """Put configs, tools and the model index below ``target``."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for part in MIM_PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=not_for_mim)
        else:
            shutil.copy2(source, target / part)


# An editable install is used from the checkout itself, where configs/ and tools/
# stand beside the package; nothing is copied for it.


class BuildWithMim(build_py):
    """Copies the parts into the built package, where MIM looks for them."""

    def run(self):
        super().run()
        if not self.editable_mode:
            copy_mim_parts(Path(self.build_lib) / NAME / '.mim')


class WheelWithMim(bdist_wheel):
    """Puts a second copy of the parts where OneDL's MIM looks for them.

    It takes the first part of the path of the first installed file for the package's
    folder. pip sorts the files, and the command, ../../bin/fastsegformer, would be the
    first; a folder whose name begins with + comes before it.
    """

    def write_wheelfile(self, wheelfile_base, *args, **kwargs):
        super().write_wheelfile(wheelfile_base, *args, **kwargs)
        if not self.get_finalized_command('build_py').editable_mode:
            copy_mim_parts(Path(wheelfile_base).parent / f'+{NAME}' / '.mim')


def version() -> str:
    scope = {}
    exec((ROOT / NAME / 'version.py').read_text(encoding='utf-8'), scope)
    return scope['__version__']


DEPLOY = [
    'nncf',
    'onnx',
    'onnxruntime',
    'onnxscript',
    'onnxslim',
    'openvino',
    'psutil',
]
# Playwright drives a Chromium that is there already, or its own
TEST = ['pytest>=8', 'pytest-xdist', 'playwright']

EXTRAS = {
    # the maintained forks: same import names, no compiler needed
    'onedl': [
        'torch>=2.0',
        'torchvision',
        'onedl-mmengine>=0.10.12,<0.11',
        'onedl-mmcv>=2.3.6,<2.4',
        'onedl-mmsegmentation>=1.4.2,<1.5',
        'onedl-mmpretrain>=1.3.6,<1.4',
        'onedl-mim>=0.5.1',
    ],
    # upstream. mmcv-lite is mmcv without its compiled operators, which nothing here
    # needs; one who has mmcv itself installs without this extra, as the two would
    # overwrite each other. MMSegmentation 1.2.2 asserts mmcv < 2.2, and needs ftfy
    # and regex, undeclared.
    'openmmlab': [
        'torch>=2.0',
        'torchvision',
        'mmengine>=0.10.7,<0.11',
        'mmcv-lite>=2.1.0,<2.2',
        'mmsegmentation>=1.2.2,<1.3',
        'mmpretrain>=1.2.0,<1.3',
        'openmim>=0.3.9',
        'ftfy',
        'regex',
    ],
    # MMRazor needs joblib, undeclared; memory is read by psutil where /proc and the
    # module resource are not
    'razor': ['mmrazor==1.0.0', 'joblib', 'psutil; sys_platform == "win32"'],
    # export, runtimes and INT8: fastsegformer_mm.deploy
    'deploy': DEPLOY,
    # the page in the browser, which runs what was exported
    'page': [*DEPLOY, 'gradio>=6'],
    # prediction on more than one machine
    # from 2.64 on, restarts of a worker are limited in another way
    'ray': [*DEPLOY, 'ray[data]>=2.60,<2.64'],
    'test': TEST,
    'dev': [*TEST, 'ruff', 'codespell'],
}

setup(
    name='fastsegformer-mm',
    version=version(),
    description=(
        'FastSegFormer for MMSegmentation: real-time segmentation of surface '
        'defects, distilled from a big teacher into a small student'
    ),
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='MIT',
    python_requires='>=3.10',
    packages=find_packages(include=[NAME, f'{NAME}.*'])
    + [
        package
        for name in PROJECTS
        for package in find_packages(f'projects/{name}', include=[name, f'{name}.*'])
    ]
    + [CLI],
    package_dir={**PROJECTS, CLI: f'tools/{CLI}'},
    entry_points={'console_scripts': [f'fastsegformer = {CLI}.main:main']},
    install_requires=[
        'filelock',
        'jinja2',
        'numpy',
        'packaging',
        'safetensors',
        'scipy',
    ],
    package_data={NAME: ['datasets/checks/*.j2', 'deploy/page/assets/*']},
    extras_require=EXTRAS,
    cmdclass={'build_py': BuildWithMim, 'bdist_wheel': WheelWithMim},
    classifiers=[
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
    zip_safe=False,
)
