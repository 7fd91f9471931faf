"""Convert official checkpoints of FastSegFormer to MMEngine's layout."""

from fastsegformer_mm.models.conversion import run_command


def main():
    run_command(
        "Convert an official checkpoint to MMEngine's layout, "
        "{'state_dict': ..., 'meta': ...}. The network is recognised by its keys: "
        'FastSegFormer in all its forms, its Swin-Att-UNet teachers, and ImageNet '
        'backbones (EfficientFormerV2, PoolFormer, Swin).',
        "A network's DST is for load_from and for the test tools. A "
        "backbone's DST has bare keys, for the backbone's "
        "init_cfg=dict(type='Pretrained', checkpoint='DST'), without a prefix.",
    )


if __name__ == '__main__':
    main()
