"""MMSegmentation's own train.py and test.py, run as they are."""

import argparse
import ast
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

from .options import find_config, pair
from .quiet import quiet


def run_stack_script(name: str) -> None:
    """Run a script of MMSegmentation with this process's command line.

    Its ``parse_args`` alone is run first: ``--help`` and a wrong argument are answered
    before anything is imported. A config that is not found is looked for among those
    of this package.

    Args:
        name (str): ``train.py`` or ``test.py``.

    Raises:
        SystemExit: MMSegmentation is not installed, or as the script does.
    """
    stack = find_spec('mmseg')
    if stack is None:
        sys.exit(
            'error: MMSegmentation is not installed: pip install '
            '"fastsegformer-mm[onedl]", or "[openmmlab]" for the upstream stack'
        )
    script = Path(stack.origin).parent / '.mim' / 'tools' / name
    given = parse_alone(script).config
    sys.argv[1:] = [find_config(given) if a == given else a for a in sys.argv[1:]]
    quiet()
    import robust_training  # noqa: F401 - for configs that do not import it themselves

    runpy.run_path(str(script), run_name='__main__')


def parse_alone(script: Path) -> argparse.Namespace:
    """What the script's ``parse_args`` makes of the command line.

    Args:
        script (Path): Its other functions and its imports are not run.
    """
    tree = ast.parse(script.read_text(encoding='utf-8'))
    tree.body = [p for p in tree.body if getattr(p, 'name', None) == 'parse_args']

    class DictAction(argparse.Action):
        """Stands for MMEngine's: the pairs stay text."""

        def __call__(self, parser, namespace, values, option_string=None):
            for value in values:
                try:
                    pair(value)
                except argparse.ArgumentTypeError as error:
                    parser.error(f'argument {option_string}: {error}')
            setattr(namespace, self.dest, values)

    # parse_args notes its rank in the environment
    environment = SimpleNamespace(environ={})
    scope = {'argparse': argparse, 'os': environment, 'DictAction': DictAction}
    exec(compile(tree, str(script), 'exec'), scope)
    return scope['parse_args']()
