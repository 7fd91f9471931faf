"""A config, ready for its parts to be built."""

import copy

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings


def open_config(config, cfg_options: dict | None = None) -> Config:
    """Read a config, override settings, import what it needs, set its scope.

    Args:
        config (str | Path | Config): A file, or a config, which is copied.
        cfg_options (dict, optional): Settings to override, by dotted key.

    Returns:
        Config: The caller's own.
    """
    cfg = config if isinstance(config, Config) else Config.fromfile(config)
    cfg = copy.deepcopy(cfg)
    if cfg_options:
        cfg.merge_from_dict(cfg_options)
    if cfg.get('custom_imports'):
        import_modules_from_strings(**cfg.custom_imports)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    return cfg
