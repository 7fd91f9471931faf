"""A trained network into one file that says what it is."""

import contextlib
import json
import os
import signal
import tempfile
import threading
from dataclasses import asdict
from pathlib import Path

from ..config import open_config
from ..errors import DeployError
from ..model_card import ModelCard
from ..network import load_network
from ..reparameterize import reparameterize
from ..telemetry import decline_telemetry
from ..threads import ThreadShare
from .build import BUILDS
from .comparison import Comparison
from .options import ExportOptions, set_size
from .parity import Parity
from .parts import frame_part, mask_part, network_part


class ParityError(DeployError):
    """An artefact differs from its network by more than allowed; there is none.

    Args:
        message (str): Which figure, what was allowed, and the way out.
        parity (Parity): All figures.
    """

    def __init__(self, message: str, parity: Parity):
        super().__init__(message)
        self.parity = parity


def export_model(
    config,
    checkpoint,
    out: str | Path,
    options: ExportOptions | None = None,
    cfg_options: dict | None = None,
) -> Parity:
    """Export a network, compare it with MMSegmentation's own results, then keep it.

    Args:
        config (str | Path | Config): Config of the network.
        checkpoint (str | Path): Its weights.
        out (str | Path): The .onnx or .xml to write; the report comes beside it as
            OUT.parity.json. What is there already stays until the new one has passed.
        options (ExportOptions, optional): Defaults to float32 ONNX.
        cfg_options (dict, optional): Settings to override in the config.

    Returns:
        Parity: The comparison.

    Raises:
        DeployError: An option or file cannot be used.
        ParityError: The artefact is outside its tolerance.

    Example:
        >>> export_model('config.py', 'best.pth', 'orange.xml',
        ...              ExportOptions('openvino', precision='bf16')).equal
        0.9993
    """
    options = options or ExportOptions()
    out = Path(out)
    options.check(out)
    decline_telemetry()
    cfg = open_config(config, cfg_options)
    resized = isinstance(options.shape, (tuple, list)) and set_size(
        cfg, tuple(options.shape)
    )
    network, card = load_network(cfg, checkpoint)
    card = options.card(card)
    # before any work, since either may refuse the card
    before = frame_part(card) if card.with_pre else None
    after = mask_part(card) if card.with_post else None
    share = ThreadShare()
    try:
        comparison = Comparison(cfg, network, card, options)
        deployed = network
        if options.reparameterize:
            # laid out for a size only where it is fixed
            deployed = reparameterize(network, example=card.shape)
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f'.{out.name}.', dir=out.parent
        ) as folder:
            build = BUILDS[options.format](
                network_part(deployed, card), card, Path(folder), options.threads
            )
            if card.precision == 'int8':
                _quantize(build, cfg, options, comparison, resized, before, after)
            found, versions = comparison.judge(build, before, after)
            failures = found.failures()
            if failures:
                way_out = _way_out(options)
                raise ParityError(
                    f'{out} was not written: {"; ".join(failures)}. {way_out}', found
                )
            report = Path(folder, 'report.json')
            content = _report(found, card, options, versions)
            report.write_text(json.dumps(content, indent=2), encoding='utf-8')
            _keep(build.model, report, out)
    finally:
        share.close()
    return found


def _quantize(build, cfg, options, comparison, resized, before, after):
    """INT8, with layers in float where ``max_drop`` asks for it."""
    from ..quantization import calibration_images

    # the training pipeline has its own size
    images = calibration_images(
        cfg, options.calibration, geometry='test' if resized else 'train'
    )
    if options.max_drop is None:
        build.quantize(images)
        return
    build.quantize_within(
        images, options.max_drop, comparison.miou, comparison.miou_of, before, after
    )


def _way_out(options):
    if options.precision == 'fp32':
        hint = 'Try another --format, or --no-reparameterize'
    elif options.precision == 'int8' and options.max_drop is None:
        hint = 'Keep the layers that hurt in float (--format openvino --max-drop 0.2)'
    else:
        hint = 'Choose a higher --precision'
    return f'{hint}; or, if this will do, allow more by --tolerance'


def _report(found: Parity, card: ModelCard, options: ExportOptions, versions):
    return {
        'card': asdict(card),
        'format': options.format,
        'reparameterized': options.reparameterize,
        'versions': versions,
        'threads': options.threads,
        **asdict(found),
        'relative': found.relative,
        'drop': found.drop,
    }


def report_path(out: Path) -> Path:
    """Where the report of an artefact is."""
    return out.with_name(f'{out.name}.parity.json')


def _keep(model: Path, report: Path, out: Path) -> None:
    """Move an artefact to its name, all of its files or none."""
    with _uninterrupted():
        if out.suffix == '.xml':
            os.replace(model.with_suffix('.bin'), out.with_suffix('.bin'))
        os.replace(model, out)
        os.replace(report, report_path(out))


@contextlib.contextmanager
def _uninterrupted():
    """Let Ctrl-C and SIGTERM wait."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {n: signal.signal(n, lambda *args: came.append(args)) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number, _ in came:
            signal.raise_signal(number)
