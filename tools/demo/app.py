"""Serve a page that segments pictures, videos and what a camera sees.

Examples:
    fastsegformer page model.onnx
    fastsegformer page model.xml CONFIG.py=CHECKPOINT.pth --precision fp32
    fastsegformer page model.xml --host 0.0.0.0 --max-megapixels 12
"""

import argparse
import logging
import sys

from fastsegformer_cli.options import BACKENDS, PRECISIONS
from fastsegformer_cli.quiet import quiet
from fastsegformer_cli.signals import run_tool

# those of fastsegformer_mm.deploy.page.limits: type, default, what it limits
LIMITS = {
    'megabytes': (float, 50, 'of an upload'),
    'megapixels': (float, 50, "of a picture or a video's frame"),
    'seconds': (float, 60, 'of a video'),
    'frames': (int, 1800, 'of a video'),
    'queue': (int, 16, 'requests that wait'),
    'concurrency': (int, 2, 'requests that are worked on at once'),
    'visitors': (int, 16, 'browser windows whose last upload stays in memory'),
}


def parse_args():
    parser = argparse.ArgumentParser(
        description='Serve a page that segments pictures, videos and what a camera '
        'sees. Stop it by Ctrl-C.'
    )
    parser.add_argument(
        'models',
        nargs='+',
        metavar='MODEL',
        help='MODEL.onnx, MODEL.xml or CONFIG.py=CHECKPOINT.pth; of several, '
        'one is selected in the page',
    )
    parser.add_argument(
        '--backend',
        default='auto',
        choices=BACKENDS,
        help='runtime (default: auto)',
    )
    parser.add_argument('--device', default='auto', help="'cpu' or 'cuda:N'")
    parser.add_argument('--threads', type=int, help='CPU threads (default: all)')
    parser.add_argument(
        '--precision',
        default='auto',
        choices=('auto', *PRECISIONS),
        help='what the models start in (default: auto)',
    )
    parser.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to serve at; 0.0.0.0 lets every machine of the network in '
        '(default: 127.0.0.1, this machine only)',
    )
    parser.add_argument('--port', type=int, default=7860, help='default: 7860')
    for name, (kind, default, text) in LIMITS.items():
        parser.add_argument(
            f'--max-{name}',
            dest=name,
            type=kind,
            default=default,
            metavar='N',
            help=f'{text} (default: {default})',
        )
    return parser.parse_args()


def main():
    args = parse_args()
    # imports that take seconds come after the command line
    quiet()
    from fastsegformer_mm.deploy.errors import DeployError
    from fastsegformer_mm.deploy.page.limits import Limits
    from fastsegformer_mm.deploy.page.models import Models, ModelSource

    logging.basicConfig(level=logging.WARNING)
    try:
        limits = Limits(**{name: getattr(args, name) for name in LIMITS})
        sources = [ModelSource.parse(text) for text in args.models]
        # here: without Gradio a wrong argument is told in no time
        from fastsegformer_mm.deploy.page.server import PageServer, is_loopback

        models = Models(
            sources,
            args.precision,
            backend=args.backend,
            device=args.device,
            threads=args.threads,
        )
        with PageServer(models, limits, args.host, args.port) as server:
            if not is_loopback(args.host):
                print(
                    f'warning: {args.host} lets other machines in; there is no '
                    'password and no encryption. Keep it inside a network that you '
                    'trust',
                    file=sys.stderr,
                )
            print(f'serving {server.address} (stop: Ctrl-C)', flush=True)
            server.wait()
    except (DeployError, OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(2)


if __name__ == '__main__':
    sys.exit(run_tool(main))
