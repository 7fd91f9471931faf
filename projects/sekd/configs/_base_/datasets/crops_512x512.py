# A set of field images in the layout of Pascal VOC, such as Sugar Beets or Sweet
# Pepper: change the block below, and student, teacher and distillations of ../../crops
# have as many classes.
#
#   data/crops/
#     JPEGImages/NAME.jpg            the images, of any size
#     SegmentationClass/NAME.png     label maps, 8-bit, one class index a pixel
#                                    (grey or palette; 255: not labelled)
#     ImageSets/Segmentation/train.txt, val.txt, test.txt    one NAME a line
#
# tools/dataset_converters/ brings coloured masks into this layout and writes the
# three lists.

# ---- change these ----------------------------------------------------------
data_root = 'data/crops'
# in the order of the label values: the name at position i belongs to value i
classes = ('background', 'crop', 'weed')
# one RGB colour a class, for pictures only
palette = [[0, 0, 0], [0, 160, 0], [220, 20, 60]]
img_suffix = '.jpg'
# longer and shorter side that images are fitted into, in pixels
scale = (2048, 512)
# True: the means leave out the class at position 0
exclude_background = False
# ----------------------------------------------------------------------------

crop_size = (512, 512)  # height, width
dataset_type = 'BaseSegDataset'
metainfo = dict(classes=classes, palette=palette)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(
        type='RandomResize',
        scale=scale,
        ratio_range=(0.5, 2.0),
        keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    # after the resizing: labels are compared at the image's own size
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale_factor=r, keep_ratio=True)
                for r in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
            ],
            [
                dict(type='RandomFlip', prob=0., direction='horizontal'),
                dict(type='RandomFlip', prob=1., direction='horizontal')
            ],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')]
        ])
]
dataset = dict(
    type=dataset_type,
    metainfo=metainfo,
    data_root=data_root,
    img_suffix=img_suffix,
    data_prefix=dict(
        img_path='JPEGImages', seg_map_path='SegmentationClass'))
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    drop_last=True,
    dataset=dict(
        ann_file='ImageSets/Segmentation/train.txt',
        pipeline=train_pipeline,
        **dataset))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        ann_file='ImageSets/Segmentation/val.txt',
        pipeline=test_pipeline,
        **dataset))
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        ann_file='ImageSets/Segmentation/test.txt',
        pipeline=test_pipeline,
        **dataset))

val_evaluator = dict(
    type='DefectIoUMetric', exclude_background=exclude_background)
test_evaluator = val_evaluator
