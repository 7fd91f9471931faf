# MFF-Metal's student on images of your own, in the layout of Pascal VOC: cracks in
# concrete, defects of a road surface, or other classes.
#
#   data/my_cracks/
#     JPEGImages/NAME.jpg            the images, of any size
#     SegmentationClass/NAME.png     label maps, 8-bit, one class index a pixel
#                                    (grey or palette; 255: not labelled)
#     ImageSets/Segmentation/train.txt, val.txt, test.txt    one NAME a line
#
# Copy this file beside itself, in this folder, and change the block below.
# tools/dataset_converters/ brings coloured masks into this layout and writes the
# three lists.
_base_ = [
    './_base_/models/mff-metal.py',
    '../../../configs/_base_/datasets/voc_layout_template.py',
    './_base_/schedules/adam-step_100e.py',
    '../../../configs/_base_/default_runtime.py'
]
# ---- change these ----------------------------------------------------------
data_root = 'data/my_cracks'
# in the order of the label values: the name at position i belongs to value i
classes = ('background', 'crack')
# one RGB colour a class, for pictures only
palette = [[0, 0, 0], [220, 20, 60]]
crop_size = (256, 256)  # height, width of the network's input
batch_size = 8
# ----------------------------------------------------------------------------

custom_imports = dict(imports=['fastsegformer_mm', 'mff_metal', 'robust_training'])
model = dict(
    decode_head=dict(num_classes=len(classes)),
    # images of any size are predicted in overlapping windows of the training's size
    test_cfg=dict(
        mode='slide',
        crop_size=crop_size,
        stride=(crop_size[0] * 2 // 3, crop_size[1] * 2 // 3)))
# Images keep their resolution, as cracks are thin, and their upright position, as
# roads and walls have one.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    # several places are tried for one that is not background alone
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.99),
    # no crop comes twice, so that a cache would be of no use
    dict(
        type='SignedDistanceMap',
        num_classes=len(classes),
        truncate=True,
        cache_mb=0),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackDistanceMap')
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='RandomFlip', prob=0., direction='horizontal'),
                dict(type='RandomFlip', prob=1., direction='horizontal')
            ],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')]
        ])
]
dataset = dict(
    data_root=data_root, metainfo=dict(classes=classes, palette=palette))
train_dataloader = dict(
    batch_size=batch_size, dataset=dict(dataset, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(dataset, pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(dataset, pipeline=test_pipeline))
# the mean is that of the defects
val_evaluator = dict(exclude_background=True)
test_evaluator = val_evaluator
