"""Serve a page that segments pictures, videos and what a camera sees.

Examples:
    python tools/demo/app.py model.onnx
    python tools/demo/app.py model.xml CONFIG.py=CHECKPOINT.pth --precision fp32
    python tools/demo/app.py model.xml --host 0.0.0.0 --max-megapixels 12
"""

import argparse
import logging
import signal
import sys
from dataclasses import fields

from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.page.limits import Limits
from fastsegformer_mm.deploy.page.models import Models, ModelSource

HELP = {
    'megabytes': 'of an upload',
    'megapixels': "of a picture or a video's frame",
    'seconds': 'of a video',
    'frames': 'of a video',
    'queue': 'requests that wait',
    'concurrency': 'requests that are worked on at once',
    'visitors': 'browser windows whose last upload stays in memory',
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
        help='MODEL.onnx, MODEL.xml or CONFIG.py=CHECKPOINT.pth; the page lets choose',
    )
    parser.add_argument(
        '--backend',
        default='auto',
        choices=('auto', 'torch', 'compile', 'onnxruntime', 'openvino'),
        help='runtime (default: auto)',
    )
    parser.add_argument('--device', default='auto', help="'cpu' or 'cuda:N'")
    parser.add_argument('--threads', type=int, help='CPU threads (default: all)')
    parser.add_argument(
        '--precision',
        default='auto',
        choices=('auto', 'fp32', 'bf16', 'fp16', 'int8'),
        help='what the models start in (default: auto)',
    )
    parser.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to serve at; 0.0.0.0 lets every machine of the network in '
        '(default: 127.0.0.1, this machine only)',
    )
    parser.add_argument('--port', type=int, default=7860, help='default: 7860')
    for field in fields(Limits):
        parser.add_argument(
            f'--max-{field.name}',
            dest=field.name,
            type=field.type,
            default=field.default,
            metavar='N',
            help=f'{HELP[field.name]} (default: {field.default})',
        )
    return parser.parse_args()


def main():
    args = parse_args()
    logging.basicConfig(level=logging.WARNING)
    try:
        limits = Limits(**{f.name: getattr(args, f.name) for f in fields(Limits)})
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
        # a stopped service leaves its folder no more than Ctrl-C does
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
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
    main()
