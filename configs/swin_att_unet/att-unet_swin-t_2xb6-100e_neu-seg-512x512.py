# Sharded over two GPUs or more: --launcher pytorch --gpus 2
_base_ = [
    './att-unet_swin-t_1xb6-100e_neu-seg-512x512.py',
    '../_base_/distributed/fsdp.py'
]
