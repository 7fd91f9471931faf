# FastSegFormer-P's channels to those of Swin-T-Att-UNet: a trained 1x1 convolution
# for each of the seven pairs of pkl_nfd.py.
connectors = dict(
    stage1=dict(
        type='ConvModuleConnector', in_channel=64, out_channel=96,
        act_cfg=None),
    stage2=dict(
        type='ConvModuleConnector', in_channel=128, out_channel=192,
        act_cfg=None),
    stage3=dict(
        type='ConvModuleConnector', in_channel=320, out_channel=384,
        act_cfg=None),
    stage4=dict(
        type='ConvModuleConnector', in_channel=512, out_channel=768,
        act_cfg=None),
    pyramid=dict(
        type='ConvModuleConnector', in_channel=512, out_channel=1024,
        act_cfg=None),
    fusion=dict(
        type='ConvModuleConnector', in_channel=512, out_channel=256,
        act_cfg=None),
    branch=dict(
        type='ConvModuleConnector', in_channel=32, out_channel=64,
        act_cfg=None))
