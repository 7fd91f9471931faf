"""Convert official checkpoints of FastSegFormer to MMEngine's layout."""

import argparse

from fastsegformer_mm.models.conversion import convert_checkpoint


def parse_args():
    parser = argparse.ArgumentParser(
        description="Convert an official checkpoint to MMEngine's layout, "
        "{'state_dict': ..., 'meta': ...}. The network is recognised by its keys: "
        'FastSegFormer in all its forms, its Swin-Att-UNet teachers, and ImageNet '
        'backbones (EfficientFormerV2, PoolFormer, Swin).',
        epilog="A network's DST is for load_from and for the test tools. A "
        "backbone's DST has bare keys, for the backbone's "
        "init_cfg=dict(type='Pretrained', checkpoint='DST'), without a prefix.",
    )
    parser.add_argument(
        'src',
        help='official checkpoint: the weights bare, under '
        "'state_dict' or under 'model'",
    )
    parser.add_argument('dst', help='checkpoint to write; its folder is made')
    parser.add_argument(
        '--force', action='store_true', help='write over DST if it exists'
    )
    parser.add_argument(
        '--dataset',
        help='registered data set that the network was trained on, such as '
        'NavelOrangeDataset: its class names and colours are stored for inference',
    )
    return parser.parse_args()


def main():
    args = parse_args()
    try:
        conversion = convert_checkpoint(args.src, args.dst, args.force, args.dataset)
    except (OSError, ValueError) as error:
        raise SystemExit(f'error: {error}') from error
    network = conversion.network
    print(f'recognised {network.name} in {args.src}')
    print(f'  backbone:   {network.backbone_name}')
    if network.details:
        print(f'  decoder:    {", ".join(network.details)}')
    if network.num_classes is not None:
        print(f'  classes:    {network.num_classes}')
    print(f'  parameters: {conversion.num_parameters:,}')
    if conversion.dropped:
        print(f'  dropped, the classifier: {", ".join(conversion.dropped)}')
    if conversion.absent:
        print(f'  not in the file, to start untrained: {", ".join(conversion.absent)}')
    print(f'wrote {args.dst}')


if __name__ == '__main__':
    main()
