"""Convert official checkpoints of FastSegFormer to MMEngine's layout."""

import sys

from fastsegformer_cli.options import conversion_parser
from fastsegformer_cli.quiet import quiet
from fastsegformer_cli.signals import run_tool


def main():
    parser = conversion_parser(
        "Convert an official checkpoint to MMEngine's layout, "
        "{'state_dict': ..., 'meta': ...}. The network is recognised by its keys: "
        'FastSegFormer in all its forms, its Swin-Att-UNet teachers, and ImageNet '
        'backbones (EfficientFormerV2, PoolFormer, Swin).',
        "A network's DST is for load_from and for the test tools. A "
        "backbone's DST has bare keys, for the backbone's "
        "init_cfg=dict(type='Pretrained', checkpoint='DST'), without a prefix.",
    )
    args = parser.parse_args()
    quiet()
    from fastsegformer_mm.models.conversion import run_command

    run_command(args)


if __name__ == '__main__':
    sys.exit(run_tool(main))
