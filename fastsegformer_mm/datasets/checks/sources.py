"""Which folders, lists and loaders a config's splits come down to."""
import inspect
import os.path as osp
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from mmengine.config import Config
from mmengine.registry import DATASETS, TRANSFORMS, DefaultScope, Registry
from mmseg.datasets import BaseSegDataset

from fastsegformer_mm.utils.background import AUTO, background_class

from ..navel_orange import NavelOrangeDataset
from ..neu_seg import NEUSegDataset
from ..unlabelled import UnlabelledDataset
from .report import Problem

SPLITS = ('train', 'val', 'test')
# these list files as BaseSegDataset does, all but itself without blank lines
LISTED_ALIKE = (BaseSegDataset.load_data_list, NavelOrangeDataset.load_data_list,
                NEUSegDataset.load_data_list, UnlabelledDataset.load_data_list)


@dataclass
class Source:
    """A data set without its wrappers, as far as checking it needs.

    Plain values only, since worker processes get it, too.

    Args:
        split (str): 'train', 'val' or 'test'.
        where (str): Its place in the config, as 'train_dataloader.dataset'.
        name (str): Name of its class.
        root, image_folder, ann_file (str): Paths as the data set joins them; '' for
            none.
        label_folder (str, optional): None where no labels are expected.
        img_suffix, seg_map_suffix (str): How file names end.
        skips_blank_lines (bool): Whether it passes over those of a split file.
        backend_args (dict, optional): Of MMEngine's file backend.
        indices (int | Sequence[int], optional): Which of the list it takes.
        records (list, optional): (image, label or None) of a data set that makes
            its own list; None: listing is as that of BaseSegDataset.
        classes (tuple[str, ...]), palette (list): Names and colours.
        background (str | int | None): Which class is no object, as the metainfo has
            it; 'auto' where it says nothing.
        own_palette (bool): Whether the colours are those of the class ``name``.
        label_map (dict, optional), reduce_zero_label (bool), ignore_index (int):
            As the data set has them.
        image_step, label_step (dict, optional): Config of the loading steps of its
            pipeline; None where it has none.
        label_steps (list[tuple[str, dict]]): Place and config of the steps behind the
            loading of labels, those of wrappers of the data set, too.
        not_understood (str): Why its pixels cannot be looked at; '' if they can.
        labelled (bool): False for an UnlabelledDataset, of which images alone count.
    """

    split: str
    where: str
    name: str
    root: str = ''
    image_folder: str = ''
    label_folder: str | None = None
    ann_file: str = ''
    img_suffix: str = '.jpg'
    seg_map_suffix: str = '.png'
    skips_blank_lines: bool = False
    backend_args: dict | None = None
    indices: Any = None
    records: list | None = None
    classes: tuple[str, ...] = ()
    palette: list = field(default_factory=list)
    background: str | int | None = AUTO
    own_palette: bool = False
    label_map: dict | None = None
    reduce_zero_label: bool = False
    ignore_index: int = 255
    image_step: dict | None = None
    label_step: dict | None = None
    label_steps: list[tuple[str, dict]] = field(default_factory=list)
    not_understood: str = ''
    labelled: bool = True

    @property
    def background_index(self) -> int | None:
        """Index of the background; None where none is known."""
        try:
            return background_class(self.classes, self.background)
        except ValueError:
            return None

    @property
    def background_unknown(self) -> bool:
        """Whether there may be one, of a name that is not known."""
        # where 0 is ignored, it is what others have as the background
        ignored = self.reduce_zero_label or (self.label_map or {}).get(0) == 255
        return (self.background == AUTO and self.background_index is None
                and not ignored)


def find_sources(cfg: Config, split: str) -> tuple[list[Source], list[Problem]]:
    """The data sets of a split, and what is wrong with the way they are declared.

    Args:
        cfg (Config): With ``{split}_dataloader``.
        split (str): 'train', 'val' or 'test'.

    Returns:
        tuple[list[Source], list[Problem]]: Wrappers (ConcatDataset, RepeatDataset,
        ...) are taken off; a data set that is not understood is a warning.
    """
    where = f'{split}_dataloader.dataset'
    # the config's own, whatever another one has left behind in this process
    scope = cfg.get('default_scope') or 'mmseg'
    sources, problems = [], []
    for place, leaf, outer in _unwrap(cfg[f'{split}_dataloader']['dataset'], where):
        try:
            with DefaultScope.overwrite_default_scope(scope):
                source = _source(leaf, split, place)
            if source.label_step is not None:
                source.label_steps += outer
            sources.append(source)
        except Exception as error:
            problems.append(Problem(
                'not-understood', 'warning', split, place,
                f'{_name(leaf)}: {type(error).__name__}: {error}',
                'a data set in the manner of BaseSegDataset',
                'it is not checked; see whether it can be built at all'))
    return sources, problems


def _unwrap(config: Any, where: str, outer: tuple = ()
            ) -> Iterator[tuple[str, Any, tuple]]:
    """The data sets within wrappers, their place, and the steps of the wrappers."""
    if not isinstance(config, dict) or _is_unlabelled(config):
        yield where, config, outer
    elif isinstance(config.get('unlabelled'), dict):
        for part in ('labelled', 'unlabelled'):
            yield from _unwrap(config[part], f'{where}.{part}', outer)
    elif isinstance(config.get('datasets'), (list, tuple)):
        for index, inner in enumerate(config['datasets']):
            yield from _unwrap(inner, f'{where}.datasets[{index}]', outer)
    elif isinstance(config.get('dataset'), dict):
        steps = _placed(config.get('pipeline') or (), where)
        yield from _unwrap(config['dataset'], f'{where}.dataset', (*steps, *outer))
    else:
        yield where, config, outer


def _placed(pipeline: Any, where: str) -> list[tuple[str, dict]]:
    """Place and config of the steps of a pipeline."""
    return [(f'{where}.pipeline[{k}]', dict(step)) for k, step in enumerate(pipeline)
            if isinstance(step, dict) and 'type' in step]


def _name(config: Any) -> str:
    kind = config.get('type') if isinstance(config, dict) else type(config)
    return getattr(kind, '__name__', str(kind))


def _is_unlabelled(config: Any) -> bool:
    return _name(config).split('.')[-1] == UnlabelledDataset.__name__


def _without_labels(source: Source) -> None:
    """Take away all that is said of labels; those of another set have its classes."""
    source.labelled = False
    source.label_folder, source.label_step, source.label_steps = None, None, []
    source.classes, source.palette, source.label_map = (), [], None
    source.reduce_zero_label = False


def _source(config: Any, split: str, where: str) -> Source:
    unlabelled = _is_unlabelled(config)
    if unlabelled and isinstance(config, dict) and config.get('dataset'):
        config, where = config['dataset'], f'{where}.dataset'
    dataset = _build_lazily(config) if isinstance(config, dict) else config
    if not hasattr(dataset, 'load_data_list'):
        raise TypeError('it has no load_data_list')
    pipeline = (config.get('pipeline', ()) if isinstance(config, dict) else ())
    cls = _class_of(config) if isinstance(config, dict) else type(dataset)
    meta = dataset.metainfo
    prefix = dataset.data_prefix or {}
    if unlabelled:
        prefix.pop('seg_map_path', None)  # before it lists its files
    source = Source(
        split=split, where=where, name=cls.__name__,
        root=dataset.data_root or '',
        image_folder=prefix.get('img_path') or '',
        label_folder=prefix.get('seg_map_path'),
        ann_file=dataset.ann_file or '',
        img_suffix=getattr(dataset, 'img_suffix', ''),
        seg_map_suffix=getattr(dataset, 'seg_map_suffix', ''),
        skips_blank_lines=cls.load_data_list in LISTED_ALIKE[1:],
        backend_args=getattr(dataset, 'backend_args', None),
        indices=dataset._indices,
        classes=tuple(meta.get('classes') or ()),
        palette=[list(color) for color in meta.get('palette') or ()],
        background=meta.get('background', AUTO),
        own_palette=bool(meta.get('palette')) and list(
            meta['palette']) == list(cls.METAINFO.get('palette') or ()),
        label_map=getattr(dataset, 'label_map', None),
        reduce_zero_label=getattr(dataset, 'reduce_zero_label', False),
        ignore_index=getattr(dataset, 'ignore_index', 255))
    if cls.load_data_list not in LISTED_ALIKE:
        source.records = [
            (r['img_path'], r.get('seg_map_path')) for r in dataset.load_data_list()]
    _find_loaders(source, pipeline)
    if unlabelled:
        _without_labels(source)
    return source


def _class_of(config: dict, registry: Registry = DATASETS) -> type:
    """The class of a config, found as building it would find it."""
    kind = config['type']
    if not isinstance(kind, str):
        return kind
    with registry.switch_scope_and_registry(config.get('_scope_')) as scoped:
        found = scoped.get(kind)
    if found is None:
        raise KeyError(f'{kind} is not in the registry {registry.name}')
    return found


def _build_lazily(config: dict) -> Any:
    """The data set without its list of files, even if a folder is missing."""
    cls = _class_of(config)
    try:
        return DATASETS.build({**config, 'lazy_init': True, 'pipeline': []})
    except (AssertionError, FileNotFoundError):
        # some of MMSegmentation's (PascalVOCDataset) assert when they are built
        # that their folder exists: the base class joins the same paths
        if not issubclass(cls, BaseSegDataset):
            raise
    known = inspect.signature(BaseSegDataset.__init__).parameters
    defaults = {name: p.default
                for name, p in inspect.signature(cls.__init__).parameters.items()
                if name in known and p.default is not inspect.Parameter.empty}
    given = {k: v for k, v in config.items() if k in known}
    meta = {**cls.METAINFO, **(given.get('metainfo') or {})}
    return BaseSegDataset(**{**defaults, **given, 'metainfo': meta,
                             'lazy_init': True, 'pipeline': []})


def _find_loaders(source: Source, pipeline: Any) -> None:
    """Find the steps that load; nested ones (test-time augmentation), too."""
    for step in _steps(pipeline):
        try:
            cls = _class_of(step, TRANSFORMS)
        except KeyError:
            continue  # not a step, or building it will say so
        if not inspect.isclass(cls):
            continue
        if issubclass(cls, LoadImageFromFile):
            source.image_step = source.image_step or dict(step)
        elif issubclass(cls, LoadAnnotations):
            source.label_step = source.label_step or dict(step)
        elif cls.__name__.startswith('Load'):
            source.not_understood = f'loaded by {cls.__name__}'
    if source.image_step is None and not source.not_understood:
        source.not_understood = 'no LoadImageFromFile in its pipeline'
    if source.label_step is None:
        source.label_folder = None
    for place, step in reversed(_placed(pipeline, source.where)):
        if step == source.label_step:
            break
        source.label_steps.insert(0, (place, step))
    else:
        source.label_steps = []  # loaded within another step, behind the others
    for step in (source.image_step, source.label_step):
        if step is not None:
            # wrong options are told here, not by each of the processes
            TRANSFORMS.build(dict(step))


def _steps(value: Any) -> Iterator[dict]:
    if isinstance(value, dict):
        if 'type' in value:
            yield value
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _steps(item)


def folder_missing(source: Source, folder: str) -> Problem:
    """The error of a folder that is not there; of the root, if that is missing."""
    missing = folder
    if source.root and not osp.exists(source.root) and '://' not in source.root:
        missing = source.root
    return Problem(
        'folder-missing', 'error', source.split, missing, 'no such folder',
        f'the files of {source.name}', remedy(source))


def remedy(source: Source) -> str:
    """How the data set gets to where it is looked for."""
    if source.name == 'NEUSegDataset':
        root = source.root or 'data/neu_seg'
        return (f'make it by: python tools/dataset_converters/neu_seg.py NEU_Seg.zip '
                f'{root}; or set {source.where}.data_root')
    here = '' if osp.isabs(source.image_folder) else (
        f' (relative paths start at {osp.abspath(".")})')
    return (f'put the files there, or set {source.where}.data_root and '
            f'.data_prefix{here}')
