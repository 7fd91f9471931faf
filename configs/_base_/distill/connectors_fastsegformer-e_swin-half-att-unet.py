# FastSegFormer-E's channels to those of swin_half_att_unet.py: a trained 1x1
# convolution for each of the seven pairs of pkl_nfd.py.
connectors = dict(
    stage1=dict(
        type='ConvModuleConnector', in_channel=32, out_channel=48,
        act_cfg=None),
    stage2=dict(
        type='ConvModuleConnector', in_channel=48, out_channel=96,
        act_cfg=None),
    stage3=dict(
        type='ConvModuleConnector', in_channel=96, out_channel=192,
        act_cfg=None),
    stage4=dict(
        type='ConvModuleConnector', in_channel=176, out_channel=384,
        act_cfg=None),
    pyramid=dict(
        type='ConvModuleConnector', in_channel=320, out_channel=768,
        act_cfg=None),
    fusion=dict(
        type='ConvModuleConnector', in_channel=320, out_channel=128,
        act_cfg=None),
    branch=dict(
        type='ConvModuleConnector', in_channel=32, out_channel=48,
        act_cfg=None))
