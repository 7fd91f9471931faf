"""A segmentor for the workers of Ray whose mishaps are planned by files."""

import os
import runpy
import signal
import time
from pathlib import Path

cases = runpy.run_path(str(Path(__file__).with_name('prediction_cases.py')))


class PlannedSegmentor(cases['ColourSegmentor']):
    """Sees colours; dies or fails where it finds a file that says so.

    Args:
        plan (Path): Folder of the files 'kill' (one process dies at its 6th frame),
            'poison' (each dies at a frame whose first pixel is blue) and 'full' (the
            disk is full at the 6th frame).
        model (str): As the command line gives it.
        options: Those too; what there was of 'threads' is written into the plan.
    """

    def __init__(self, plan, model, **options):
        super().__init__(delay=0.02)
        self.plan = Path(plan)
        (self.plan / f'started-{os.getpid()}').write_text(str(options['threads']))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def segment(self, frame):
        if self.count == 5:
            if (self.plan / 'full').exists():
                raise OSError(28, 'No space left on device')
            # the first one to remove it
            try:
                (self.plan / 'kill').unlink()
            except FileNotFoundError:
                pass
            else:
                self.die()
        if (self.plan / 'poison').exists() and frame[0, 0].tolist() == [255, 0, 0]:
            self.die()
        return super().segment(frame)

    def die(self):
        with open(self.plan / 'killed', 'a') as file:
            file.write(f'{os.getpid()}\n')
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)
