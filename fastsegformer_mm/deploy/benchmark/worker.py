"""The process of one combination: it waits, and measures when it is told to.

Requests and replies are lines of JSON. Between them it blocks on a read, so that
nothing of it runs while another is measured.
"""

import gc
import json
import os
import sys
import time
import traceback
from dataclasses import asdict

import numpy as np
import torch

from fastsegformer_mm.utils import measure
from fastsegformer_mm.utils.peak_memory import read_peak, reset_peak

from ..errors import DeployError
from .combination import Combination, Model
from .evaluate import evaluate
from .subject import Subject, build


class Worker:
    """Answers requests, each a dict with 'do' and the arguments of that method."""

    def load(self, combination, frames, threads, device, cfg_options):
        """Build it; 'card', 'seconds', 'weights' counts of the network."""
        model = Model(**combination.pop('model'))
        passes = combination.pop('passes')
        self.combination = Combination(
            model, **combination, passes=None if passes is None else tuple(passes)
        )
        self.cfg_options = cfg_options
        self.device = torch.device(device)
        start = time.perf_counter()
        segmentor, network = build(self.combination, threads, device, cfg_options)
        seconds = time.perf_counter() - start
        card = segmentor.card
        reply = {'card': asdict(card), 'seconds': seconds}
        if hasattr(segmentor, 'describe'):
            runs = segmentor.describe()
            reply['runs'] = {k: runs[k] for k in ('backend', 'device', 'precision')}
        if self.combination.baseline:
            # before the peak is reset: hooks and copies are no part of running it
            total = measure(network.segmentor.to('cpu'), tuple(card.size)).total
            network.segmentor.to(self.device)
            reply['parameters'], reply['macs'] = total.parameters, total.macs
        del network
        gc.collect()
        reset_peak(torch.device('cpu'))
        if self.device.type == 'cuda':
            reset_peak(self.device)
        self.subject = Subject(segmentor, np.load(frames))
        return reply

    def measure(self, warmups, runs):
        """'seconds' of each stage by run, and the peak of memory by now."""
        reply = {'seconds': self.subject.measure(warmups, runs)}
        reply['peak_bytes'] = read_peak(torch.device('cpu'))
        if self.device.type == 'cuda':
            reply['gpu_peak_bytes'] = read_peak(self.device)
        return reply

    def outputs(self, path):
        """Write what it gives on the frames."""
        np.savez(path, **self.subject.outputs())
        return {}

    def evaluate(self, config, path):
        """Metrics on the test set of ``config``; the masks go to ``path``."""
        masks = []
        metrics = evaluate(config, self.subject.mask, self.cfg_options, masks.append)
        shapes = [mask.shape for mask in masks]
        np.savez_compressed(
            path, pixels=np.concatenate([m.ravel() for m in masks]), shapes=shapes
        )
        return {'metrics': metrics}


def main(replies):
    worker = Worker()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = getattr(worker, request.pop('do'))(**request)
        except DeployError as error:
            reply = {'error': str(error)}
        except Exception as error:  # any runtime may fail in any way
            traceback.print_exc()
            reply = {'error': f'{type(error).__name__}: {error}'.strip()[:600]}
        replies.write(json.dumps(reply) + '\n')
        replies.flush()


if __name__ == '__main__':
    with os.fdopen(int(sys.argv[1]), 'w', encoding='utf-8') as pipe:
        main(pipe)
