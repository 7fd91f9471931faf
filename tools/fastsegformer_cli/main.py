"""The console command: find the subcommand's script and run it."""

import difflib
import sys
from importlib.util import module_from_spec, spec_from_file_location

from .commands import COMMANDS, overview, tools_folder

USAGE = 2


def main(argv=None) -> int:
    """Run ``fastsegformer ARGV``.

    Args:
        argv (list[str], optional): Defaults to None, those of the process.

    Returns:
        int: The exit code.
    """
    name, *rest = (sys.argv[1:] if argv is None else argv) or ['']
    if name in ('-h', '--help'):
        print(overview())
        return 0
    if not name:
        print(overview(), file=sys.stderr)
        return USAGE
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f'did you mean {near[0]}? ' if near else ''
        print(
            f'error: no command {name!r}; {hint}fastsegformer --help lists all',
            file=sys.stderr,
        )
        return USAGE
    run_script(tools_folder() / COMMANDS[name].script, f'fastsegformer {name}', rest)
    return 0


def run_script(path, prog, arguments):
    """Run a script as ``python PATH ARGUMENTS`` does, under another name.

    ``runpy`` would put the file's name into ``sys.argv``, where argparse takes the
    name of the program from.

    Args:
        path (Path): The script.
        prog (str): Name of the program in its help and errors.
        arguments (Sequence[str]): Of the command line.

    Raises:
        SystemExit: As the script does.
    """
    spec = spec_from_file_location('__main__', path)
    module = module_from_spec(spec)
    # as of a script, so that worker processes find it by its file
    module.__spec__ = None
    sys.modules['__main__'] = module
    sys.argv = [prog, *arguments]
    spec.loader.exec_module(module)
