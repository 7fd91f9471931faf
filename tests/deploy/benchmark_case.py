"""A run with made-up seconds, and a stand-in for a worker's process."""

from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config

from fastsegformer_mm.deploy import ModelCard
from fastsegformer_mm.deploy.benchmark.combination import (
    Combination,
    Model,
    combinations_of,
)
from fastsegformer_mm.deploy.benchmark.results import derive, new_run
from fastsegformer_mm.deploy.benchmark.rounds import Rounds, new_entry
from fastsegformer_mm.deploy.benchmark.settings import Settings
from fastsegformer_mm.deploy.errors import DeployError

MACHINE = dict(
    host='plant', cpu='EPYC', cpu_model='AMD 26 2', cores=2, memory_bytes=2**34,
    instruction_sets=['avx2', 'avx512_bf16'], gpus=[], system='Linux x86_64',
)  # fmt: skip
OURS = 'fastsegformer-e_b_1xb8-1i_neu'
RIVAL = 'bisenetv2_1xb8-1i_neu'


def settings(**kwargs):
    return Settings(**{'threads': 2, 'runs': 2, 'rounds': 2, **kwargs})


def seconds(network, pre=0.001, post=0.002, runs=2):
    """One round: 'network' as given, a pipeline of the sum."""
    return {
        'preprocess': [pre] * runs,
        'network': [network] * runs,
        'postprocess': [post] * runs,
        'pipeline': [pre + network + post] * runs,
    }


def model(stem, **kwargs):
    return dict(
        stem=stem, config=f'{stem}.py', checkpoint='best.pth', sha256=stem,
        random_weights=False, input=[64, 64], classes=4, parameters=5_000_000,
        macs=800_000_000, **kwargs,
    )  # fmt: skip


def entry(name, backend, precision, networks, passes=None, group=0, **kwargs):
    """Measured: a round for each of ``networks``, seconds."""
    made = new_entry(
        Combination(Model(name, f'{name}.py'), backend, precision, passes), group
    )
    made.update(
        status='measured',
        rounds=[seconds(value) for value in networks],
        busy_elsewhere=[0.0] * len(networks),
        peak_bytes=300 * 2**20,
        load_seconds=1.25,
        **kwargs,
    )
    return made


def example_run(machine=None, **kwargs):
    """Ours on two runtimes and in the reference loop, and a rival, with mIoU."""
    run = new_run(
        settings(**kwargs),
        dict(source='made up', size=[48, 64], frames=3),
        {**MACHINE, **(machine or {})},
        dict(python='3.11', torch='2.14', commit='0123456789abcdef'),
        dict(OMP_WAIT_POLICY='passive'),
    )
    run['complete'] = True
    run['models'] = {'ours': model(OURS), 'rival': model(RIVAL)}
    run['models']['rival']['parameters'] = 3_000_000
    exact = dict(frames=3, equal_pixels=1.0, logit_difference=0.0)
    near = dict(frames=3, equal_pixels=0.9985, logit_difference=0.0123)
    run['entries'] = [
        entry('ours', 'torch', 'fp32', [0.040, 0.080], miou=70.5, agreement=exact),
        entry('ours', 'reference', 'fp32', [0.047, 0.097], miou=70.5, agreement=exact),
        entry('ours', 'openvino', 'bf16', [0.008, 0.010], miou=70.25, agreement=near),
        entry('rival', 'torch', 'fp32', [0.020, 0.020], miou=65.0, agreement=exact),
    ]
    return derive(run)


class FakeProcess:
    """Answers as a worker does, and remembers when it was asked what.

    What a combination does stands in ``FakeProcess.acts``: by its backend, 'load',
    'turn' or 'hang', an error that is raised then.
    """

    def __init__(self, log, threads, timeout):
        self.log, self.stopped = log, 0
        self.calls.append(('start', Path(log).name, threads, timeout))
        self.alive.append(self)

    @classmethod
    def fresh(cls, **acts):
        """A class with nothing remembered."""
        return type('Fake', (cls,), dict(calls=[], alive=[], acts=acts, asked=[]))

    def ask(self, do, **arguments):
        self.asked.append((do, arguments))
        if do == 'load':
            self.combination = arguments['combination']
            self.name = self.combination['model']['name']
            self.backend = self.combination['backend']
        self.calls.append((do, self.name, self.backend))
        error = self.acts.get(f'{self.backend} {do}')
        if error is not None:
            raise error
        return getattr(self, do)(**arguments)

    def load(self, combination, **kwargs):
        checkpoint = combination['model']['checkpoint'] or ''
        card = ModelCard(
            self.name, ('a', 'b'), ((0, 0, 0), (1, 1, 1)), (64, 64),
            checkpoint=checkpoint, sha256=checkpoint and 'abc',
        )  # fmt: skip
        counts = dict(parameters=7, macs=9) if self.backend == 'torch' else {}
        runs = dict(backend=self.backend, device='cpu', precision='int8')
        return {'card': asdict(card), 'seconds': 0.5, 'runs': runs, **counts}

    def measure(self, warmups, runs):
        return {'seconds': seconds(0.01, runs=runs), 'peak_bytes': 10}

    def outputs(self, path):
        value = int(self.backend != 'torch')
        np.savez(path, masks=np.array([[[0, 0, 0, value]]]), logits=np.array([2.0]))
        return {}

    def evaluate(self, config, path):
        value = 2 * int(self.backend != 'torch')
        np.savez(path, pixels=np.array([0, 0, 1, value, 1]), shapes=[(5,)])
        return {'metrics': {'mIoU': 60.0 + value, 'images': 1}}

    def rest(self):
        self.calls.append(('rest', self.name, self.backend))
        return f'{self.backend} spins' not in self.acts

    def cpu_seconds(self):
        return 0.0

    def stop(self):
        self.stopped += 1
        self.alive.remove(self)


def run_rounds(tmp_path, process, models, backends=(), chosen=None, **kwargs):
    """Rounds over (model, backend) pairs, with what was said."""
    said = []
    rounds = Rounds(settings(**kwargs), tmp_path, tmp_path, said.append, process)
    rounds.said = said
    chosen = chosen or combinations_of(models, backends)
    rounds.run(chosen, np.zeros((1, 4, 4, 3), np.uint8))
    return rounds


def network(name, checkpoint='best.pth'):
    return Model(name, f'{name}.py', checkpoint)


FAILURE = DeployError('this runtime has no bf16')


def write_config(tmp_path):
    """A small network with a test set of two images."""
    for kind in ('images', 'annotations'):
        (tmp_path / 'data' / kind).mkdir(parents=True)
    for i, value in enumerate((0, 1)):
        image = np.full((40, 48, 3), 60 * value, np.uint8)
        cv2.imwrite(str(tmp_path / f'data/images/{i}.jpg'), image)
        label = np.full((40, 48), value, np.uint8)
        cv2.imwrite(str(tmp_path / f'data/annotations/{i}.png'), label)
    norm = dict(type='BN')
    cfg = Config(
        dict(
            default_scope='mmseg',
            custom_imports=dict(imports=['fastsegformer_mm']),
            model=dict(
                type='EncoderDecoder',
                data_preprocessor=dict(
                    type='SegDataPreProcessor', mean=[0.0] * 3, std=[255.0] * 3,
                    bgr_to_rgb=True, pad_val=0, seg_pad_val=255, size=(32, 32),
                ),
                backbone=dict(
                    type='ResNetV1c', depth=18, base_channels=4, norm_cfg=norm
                ),
                decode_head=dict(
                    type='FCNHead', in_channels=32, channels=8, num_convs=1,
                    num_classes=4, norm_cfg=norm, align_corners=True,
                    loss_decode=dict(type='CrossEntropyLoss'),
                ),
                test_cfg=dict(mode='whole'),
            ),
            test_dataloader=dict(
                batch_size=1,
                dataset=dict(
                    type='NEUSegDataset',
                    data_root=str(tmp_path / 'data'),
                    data_prefix=dict(img_path='images', seg_map_path='annotations'),
                    pipeline=[
                        dict(type='LoadImageFromFile'),
                        dict(type='LetterBox', size=(32, 32)),
                        dict(type='LoadAnnotations'),
                        dict(type='PackSegInputs'),
                    ],
                ),
            ),
            test_evaluator=dict(type='DefectIoUMetric'),
        )
    )  # fmt: skip
    path = tmp_path / 'tiny_1xb8-1i_neu-seg-32x32.py'
    cfg.dump(path)
    return path
