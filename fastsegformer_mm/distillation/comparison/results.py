"""Where a run keeps what it is, and what has come out of it."""

import json
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from fastsegformer_mm.engine.checkpoint import read_checkpoint
from fastsegformer_mm.engine.checkpoint.digest import weights_digest
from fastsegformer_mm.engine.checkpoint.write import replace_file

from .run_config import differences, digest, write_config
from .settings import ComparisonError

CONFIG = 'config.py'
JOB = 'job.json'
RESULT = 'result.json'
LOG = 'log.txt'


@dataclass(frozen=True)
class Run:
    """One training: a method, a seed, its whole config.

    Attributes:
        folder (Path): Its own, ``DIR/runs/METHOD/seed-K``; of a teacher that is
            only tested ``DIR/runs/teacher/test``.
        method (str): The method's name, or 'teacher'.
        seed (int): Of all random numbers.
        cfg (dict): From :func:`run_config`.
        teacher (str, optional): Digest of the teacher's weights; None without one.
    """

    folder: Path
    method: str
    seed: int
    cfg: dict
    teacher: str | None = None

    @property
    def name(self) -> str:
        return f'{self.method}, {self.folder.name.replace("-", " ")}'

    @property
    def digest(self) -> str:
        return digest(self.cfg)

    def prepare(self, **more) -> None:
        """Write down what the run is, ``job.json`` last."""
        write_config(self.cfg, self.folder / CONFIG)
        job = dict(
            method=self.method,
            seed=self.seed,
            digest=self.digest,
            teacher=self.teacher,
            **more,
        )
        write_json(self.folder / JOB, job)

    def state(self) -> str:
        """'new', 'begun', 'complete', or 'changed': of another config or teacher."""
        found = read_json(self.folder / RESULT)
        job = found or read_json(self.folder / JOB)
        if job is None:
            return 'new'
        if not self.fits(job):
            return 'changed'
        return 'complete' if found else 'begun'

    def fits(self, job: dict) -> bool:
        """Whether a job or a result is of this very config and teacher."""
        return (job.get('digest'), job.get('teacher')) == (self.digest, self.teacher)

    def result(self) -> dict | None:
        """What has come out of it, if it is complete and not of another config."""
        return read_json(self.folder / RESULT) if self.state() == 'complete' else None

    def changes(self) -> list[str]:
        """How what lies in the folder differs from this run, one line each."""
        job = read_json(self.folder / RESULT) or read_json(self.folder / JOB)
        lines = []
        if job.get('teacher') != self.teacher:
            lines.append("the teacher's weights")
        path = self.folder / CONFIG
        if job.get('digest') != self.digest and path.is_file():
            old = Config.fromfile(path, import_custom_modules=False).to_dict()
            lines += differences(old, self.cfg)
        return lines or ['its config, of which there is no copy']

    def put_aside(self, place: Path) -> Path:
        """Move the folder to ``place/METHOD/seed-K.N``, the first N that is free."""
        number = 1
        while (target := place / self.method / f'{self.folder.name}.{number}').exists():
            number += 1
        target.parent.mkdir(parents=True, exist_ok=True)
        return self.folder.rename(target)


def best_checkpoint(folder: Path) -> str | None:
    """The weights of a run that were best on the validation images."""
    best = sorted(folder.glob('best_*.pth'), key=lambda path: path.stat().st_mtime)
    return str(best[-1]) if best else None


def checkpoint_digest(path) -> str:
    """What tells the weights of a teacher's checkpoint from others."""
    content = read_checkpoint(path)
    return weights_digest(content.get('state_dict', content))


def write_json(path, content) -> None:
    """Write it as a whole or not at all."""
    replace_file(Path(path), [json.dumps(content, indent=2).encode()])


def read_json(path) -> dict | None:
    """What is in the file; None if there is none.

    Raises:
        ComparisonError: It is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding='utf-8'))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ComparisonError(
            f'{path} is damaged ({error}): remove its folder, and the run is made again'
        ) from error
