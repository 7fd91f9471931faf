"""The model index: valid, complete, and in agreement with configs and READMEs."""

import re
from pathlib import Path

import pytest
import yaml
from modelindex.load_model_index import load

ROOT = Path(__file__).resolve().parents[1]
# those of networks; robust_training has no configs
PROJECTS = sorted(p.parent for p in ROOT.glob('projects/*/metafile.yml'))
FOLDERS = PROJECTS + sorted(
    p for p in (ROOT / 'configs').iterdir()
    if p.is_dir() and p.name not in ('_base_', 'grading'))
every_folder = pytest.mark.parametrize('folder', FOLDERS, ids=lambda p: p.name)


def configs_of(folder):
    top = folder / 'configs' if folder in PROJECTS else folder
    return [p for p in top.rglob('*.py') if '_base_' not in p.parts]


@pytest.fixture(scope='module')
def index():
    return load(str(ROOT / 'model-index.yml'))


def test_index_is_valid(index):
    assert index.check(silent=True) == []
    assert len(index.models) >= 118
    collections = {c.name for c in index.collections}
    assert {m.in_collection for m in index.models} == collections


def test_every_config_is_listed_once(index):
    listed = [m.config for m in index.models]
    configs = [str(p.relative_to(ROOT)) for folder in FOLDERS
               for p in configs_of(folder)]
    assert len(configs) >= 118
    assert {p.name for p in PROJECTS} == {'mff_metal', 'sekd', 'pixel_pair_kd'}
    assert all(configs_of(p) for p in FOLDERS)
    assert sorted(listed) == sorted(configs)
    # `mim` and MMEngine find a model by its name
    assert [m.name for m in index.models] == [Path(c).stem for c in listed]


def test_every_metafile_is_imported():
    imported = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
    assert sorted(imported) == sorted(
        str(f.relative_to(ROOT) / 'metafile.yml') for f in FOLDERS)


def test_metadata_agrees_with_names(index):
    for model in index.models:
        batch = int(re.search(r'_\dxb(\d+)-', model.name)[1])
        epochs = re.search(r'-(\d+)e_', model.name)
        assert model.metadata.data['Batch Size'] == batch
        assert model.metadata.data.get('Epochs') == (epochs and int(epochs[1]))
        assert ('Pretrained' in model.metadata.data) == ('_in1k-pre_' in model.name)


def exists(folder, link):
    """Whether a file is there, and the heading in it, where one is named."""
    path, _, heading = link.partition('#')
    target = folder / path if path else folder / 'README.md'
    if not target.exists() or not heading:
        return target.exists()
    headings = re.findall(r'^#+ (.*)$', target.read_text(), re.M)
    return heading in [re.sub(r'[^\w -]', '', h.lower()).replace(' ', '-')
                       for h in headings]


@every_folder
def test_readme_links_every_config_of_its_folder(folder):
    text = (folder / 'README.md').read_text()
    links = [link for link in re.findall(r'\]\(([^)]+)\)', text)
             if not link.startswith('http')]
    assert [link for link in links if not exists(folder, link)] == []
    configs = {str(p.relative_to(folder)) for p in configs_of(folder)}
    assert configs <= set(links)
    assert [link for link in links
            if re.search(r'_\d+xb\d+', link) and link not in configs] == []


@every_folder
def test_published_results_are_in_the_readme(folder, index):
    """Figures of the metafile and of the README's row of the same config."""
    text = (folder / 'README.md').read_text()
    row = r'^\|.*\]\((?:[a-z0-9_]+/)*([^)/]+)\.py\).*$'
    rows = {m[1]: m[0] for m in re.finditer(row, text, re.M)}
    models = [m for m in index.models
              if m.results and (ROOT / m.config).is_relative_to(folder)]
    for model in models:
        for result in model.results:
            for figure in result.metrics.values():
                assert f'| {figure:.2f} |' in rows[model.name]
    with_results = {'fastsegformer': 4, 'distill': 8, 'mff_metal': 6, 'sekd': 9,
                    'pixel_pair_kd': 5}
    assert len(models) == with_results.get(folder.name, 0)
