"""A trained network into one file that says what it is."""

import contextlib
import copy
import json
import os
import signal
import tempfile
import threading
from dataclasses import asdict, replace
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope

from ..errors import DeployError
from ..model_card import ModelCard
from ..network import load_network
from ..reparameterize import reparameterize
from ..telemetry import decline_telemetry
from ..threads import ThreadShare
from . import parity
from .build import BUILDS
from .options import ExportOptions, set_size
from .parity import Parity
from .parts import frame_part, mask_part, network_part
from .reference import Reference
from .samples import find_samples


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
            NAME.parity.json. What is there already stays until the new one has passed.
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
    cfg = config if isinstance(config, Config) else Config.fromfile(config)
    cfg = copy.deepcopy(cfg)
    if cfg_options:
        cfg.merge_from_dict(cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    resized = isinstance(options.shape, (tuple, list)) and set_size(
        cfg, tuple(options.shape)
    )
    network, card = load_network(cfg, checkpoint)
    card = options.card(card)
    # the graph's parts before any work, since a card may be refused
    before = frame_part(card) if card.with_pre else None
    share = ThreadShare()
    try:
        reference = Reference(cfg, network)
        samples = find_samples(
            cfg, options.split, options.images, options.labels, options.num
        )
        tolerance = parity.tolerances(card, samples.labelled, options.tolerance)
        if options.max_drop is not None and not samples.labelled:
            raise DeployError(
                f'--max-drop {options.max_drop} needs labelled images to measure mIoU '
                'on; name some by --images and --labels, or --split'
            )
        cases = list(reference.cases(samples))
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f'.{out.name}.', dir=out.parent
        ) as folder:
            deployed = network
            if options.reparameterize:
                deployed = reparameterize(network)
            after = None
            if card.with_post:
                after = mask_part(card, cases[0].logits.shape[1])
            build = BUILDS[options.format](
                network_part(deployed, card), card, Path(folder), options.threads
            )
            before_miou = None
            if samples.labelled:
                own = [case.mask for case in cases]
                before_miou = parity.mean_iou(cfg, card, own, cases)
            if card.precision == 'int8':
                _quantize(build, cfg, card, cases, reference, options, resized)
            infer = build.run_network()
            logits, largest = parity.logit_difference(infer, cases)
            others = parity.other_sizes(infer, network, card, cases[0].image)
            infer = build.finish(before, after)
            masks = parity.masks(infer, card, cases, reference)
            found = Parity(
                images=len(cases),
                source=samples.source,
                synthetic=samples.synthetic,
                computed_in=infer.precision,
                logits=logits,
                largest=largest,
                equal=parity.equal_share(masks, cases),
                other_sizes=others,
                tolerance=tolerance,
            )
            if samples.labelled:
                after_miou = parity.mean_iou(cfg, card, masks, cases)
                found.miou = (before_miou, after_miou)
            failures = found.failures()
            if failures:
                raise ParityError(
                    f'{out} was not written: {"; ".join(failures)}. Choose a higher '
                    '--precision, or, if that will do, allow more by --tolerance',
                    found,
                )
            report = Path(folder, 'report.json')
            versions = infer.versions()
            infer.close()
            report.write_text(
                json.dumps(_report(found, card, options, versions), indent=2)
            )
            _keep(build.model, report, out)
    finally:
        share.close()
    return found


def _quantize(build, cfg, card, cases, reference, options, resized):
    """INT8, with layers in float where ``max_drop`` asks for it."""
    from ..quantization import calibration_images

    # the training pipeline has its own size
    images = calibration_images(
        cfg, options.calibration, geometry='test' if resized else 'train'
    )
    accuracy = None
    if options.max_drop is not None:
        bare = replace(card, with_pre=False, with_post=False)

        def accuracy(infer):
            masks = parity.masks(infer, bare, cases, reference)
            return parity.mean_iou(cfg, card, masks, cases)

    build.quantize(images, accuracy, options.max_drop)


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
    return out.with_suffix('.parity.json')


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
