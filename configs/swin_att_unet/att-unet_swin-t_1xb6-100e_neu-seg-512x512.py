_base_ = [
    '../_base_/models/swin_t_att_unet.py',
    '../_base_/datasets/neu_seg_512x512.py',
    '../_base_/schedules/adam_100e.py', '../_base_/default_runtime.py'
]
