# A data set of your own in the layout of Pascal VOC:
#
#   data/my_set/
#     JPEGImages/NAME.jpg            the images, of any size
#     SegmentationClass/NAME.png     label maps, 8-bit, one class index a pixel
#                                    (grey or palette; 255: not labelled)
#     ImageSets/Segmentation/train.txt, val.txt, test.txt    one NAME a line
#
# Either leave this file alone and set what differs in a copy of
# ../../fastsegformer/fastsegformer-e_efficientformerv2-s0_1xb32-100e_my-set-224x224.py,
# or copy it beside itself, change the block below, name the copy in `_base_` of a
# config and give the model as many classes there:
#
#   model = dict(decode_head=dict(num_classes=len(_base_.classes)))
#
# tools/dataset_converters/ brings coloured masks into this layout and writes the
# three lists.

# ---- change these ----------------------------------------------------------
data_root = 'data/my_set'
# in the order of the label values: the name at position i belongs to value i
classes = ('background', 'defect')
# The class called background (or bg) is not drawn, counted or graded. If yours has
# another name, add its position to `metainfo` below: background=0.
# one RGB colour a class, for pictures only
palette = [[0, 0, 0], [220, 20, 60]]
img_suffix = '.jpg'
crop_size = (224, 224)  # height, width of the network's input
batch_size = 32
# value of the canvas on which training images are pasted, and the label there; None:
# what 0 in the label files is loaded as, 255: ignored
canvas_val, canvas_label = 128, None
# True: the means leave out the background
exclude_background = False
# ----------------------------------------------------------------------------

# MMSegmentation's plain data set takes its classes from here
dataset_type = 'BaseSegDataset'
metainfo = dict(classes=classes, palette=palette)

meta_keys = ('img_path', 'seg_map_path', 'ori_shape', 'img_shape', 'pad_shape',
             'scale_factor', 'flip', 'flip_direction', 'reduce_zero_label',
             # lets the segmentor cut the letterbox off again
             'padding_size')
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    # The official order is jitter, flip, placing; as the place is uniformly
    # random, flipping afterwards gives the same distribution.
    dict(
        type='RandomScalePaste',
        size=crop_size,
        aspect_jitter=0.3,
        scale_range=(0.25, 2.0),
        pad_val=canvas_val,
        seg_pad_val=canvas_label),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='RandomHSV', hue_gain=0.1, saturation_gain=0.7, value_gain=0.3),
    dict(type='PackSegInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LetterBox', size=crop_size, pad_val=canvas_val),
    # after the letterbox: labels are compared at the image's own size
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs', meta_keys=meta_keys)
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            # before the letterbox: the segmentor cuts the padding off first
            # and flips back second
            [
                dict(type='RandomFlip', prob=0., direction='horizontal'),
                dict(type='RandomFlip', prob=1., direction='horizontal')
            ],
            [dict(type='LetterBox', size=crop_size, pad_val=canvas_val)],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs', meta_keys=meta_keys)]
        ])
]
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    # False, so that a set smaller than one batch trains too
    drop_last=False,
    dataset=dict(
        type=dataset_type,
        metainfo=metainfo,
        data_root=data_root,
        img_suffix=img_suffix,
        data_prefix=dict(
            img_path='JPEGImages', seg_map_path='SegmentationClass'),
        ann_file='ImageSets/Segmentation/train.txt',
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        metainfo=metainfo,
        data_root=data_root,
        img_suffix=img_suffix,
        data_prefix=dict(
            img_path='JPEGImages', seg_map_path='SegmentationClass'),
        ann_file='ImageSets/Segmentation/val.txt',
        pipeline=test_pipeline))
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        metainfo=metainfo,
        data_root=data_root,
        img_suffix=img_suffix,
        data_prefix=dict(
            img_path='JPEGImages', seg_map_path='SegmentationClass'),
        ann_file='ImageSets/Segmentation/test.txt',
        pipeline=test_pipeline))

val_evaluator = dict(
    type='DefectIoUMetric', exclude_background=exclude_background)
test_evaluator = val_evaluator
