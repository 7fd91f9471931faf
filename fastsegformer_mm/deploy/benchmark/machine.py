"""The machine and the software that figures were measured on."""

import importlib
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import psutil

from ..threads import usable_cores

# those that decide which kernels a runtime takes
INSTRUCTION_SETS = (
    'avx', 'avx2', 'fma', 'avx512f', 'avx512_vnni', 'avx_vnni', 'avx512_bf16',
    'avx512_fp16', 'amx_tile', 'amx_bf16', 'amx_int8', 'neon', 'asimd', 'asimddp',
    'bf16', 'i8mm', 'sve',
)  # fmt: skip
PACKAGES = (
    'torch', 'torchvision', 'mmcv', 'mmengine', 'mmseg', 'numpy', 'cv2',
    'onnxruntime', 'openvino', 'nncf', 'fastsegformer_mm',
)  # fmt: skip
# changes what is measured, and may be set outside
ENVIRONMENT = (
    'OMP_NUM_THREADS', 'OMP_WAIT_POLICY', 'KMP_BLOCKTIME', 'KMP_AFFINITY',
    'GOMP_SPINCOUNT', 'OMP_PROC_BIND', 'LD_PRELOAD', 'MALLOC_CONF',
    'ONEDNN_MAX_CPU_ISA', 'DNNL_MAX_CPU_ISA', 'CUDA_VISIBLE_DEVICES',
)  # fmt: skip


def describe_machine() -> dict:
    """Processor, cores, instruction sets, memory, GPUs, system.

    Two runs are of one machine when all of it is equal.

    Example:
        >>> sorted(describe_machine())[:3]
        ['cores', 'cpu', 'cpu_model']
    """
    import torch

    info = _cpuinfo()
    flags = set(info.get('flags', info.get('Features', '')).split())
    gpus = [
        torch.cuda.get_device_name(i)
        for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    ]
    return {
        'host': platform.node(),
        'cpu': info.get('model name') or platform.processor() or platform.machine(),
        'cpu_model': ' '.join(
            info.get(key, '?') for key in ('vendor_id', 'cpu family', 'model')
        ),
        'cores': usable_cores(),
        'instruction_sets': [name for name in INSTRUCTION_SETS if name in flags],
        'memory_bytes': psutil.virtual_memory().total,
        'gpus': gpus,
        'system': f'{platform.system()} {platform.machine()}',
    }


def describe_versions() -> dict:
    """{package: version} of what can be imported, Python, and the commit."""
    versions = {'python': platform.python_version()}
    for name in PACKAGES:
        try:
            module = importlib.import_module(name)
        except (ImportError, AttributeError):  # NNCF 3 looks for names of torch 2.3
            continue
        versions[name] = str(getattr(module, '__version__', '?'))
    versions['commit'] = commit()
    return versions


def describe_environment(environment=os.environ) -> dict:
    """Variables that change how threads and kernels are chosen."""
    return {name: environment[name] for name in ENVIRONMENT if name in environment}


def commit(folder=Path(__file__).parents[3]) -> str | None:
    """The commit of the checkout, with '+' when files differ; None without one."""
    if not (Path(folder) / '.git').exists():
        return None  # an installed package may lie within another repository
    try:
        out = [
            subprocess.run(
                ['git', '-C', str(folder), *command],
                capture_output=True,
                text=True,
                encoding='utf-8',
                check=True,
            ).stdout.strip()
            for command in (
                ('rev-parse', 'HEAD'),
                ('status', '--porcelain', '--untracked-files=no'),
            )
        ]
    except (OSError, subprocess.CalledProcessError):
        return None
    return out[0] + ('+' if out[1] else '')


def title_of(machine: dict) -> str:
    """One line.

    Example:
        >>> title_of(dict(cpu='EPYC', cores=2, memory_bytes=2**34, gpus=[], host='a',
        ...               instruction_sets=['avx2', 'avx512_bf16']))
        'EPYC, 2 cores, avx2 avx512_bf16, 16 GiB (a)'
    """
    parts = [
        machine['cpu'],
        f'{machine["cores"]} cores',
        ' '.join(machine['instruction_sets']),
        f'{machine["memory_bytes"] / 2**30:.0f} GiB',
        *machine['gpus'],
    ]
    return ', '.join(part for part in parts if part) + f' ({machine["host"]})'


def _cpuinfo():
    """Fields of the first processor in /proc/cpuinfo; {} elsewhere than on Linux."""
    path = Path('/proc/cpuinfo')
    if not path.is_file():
        return {}
    first = path.read_text(encoding='utf-8').split('\n\n')[0]
    pairs = (line.split(':', 1) for line in first.splitlines() if ':' in line)
    return {key.strip(): value.strip() for key, value in pairs}
