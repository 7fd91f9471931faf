# NEU-Seg (hot-rolled steel, 200x200), resized to 96x96, with MFF-Metal's augmentation:
# for a CPU.
dataset_type = 'NEUSegDataset'
data_root = 'data/neu_seg'
crop_size = (96, 96)  # height, width

# Of the official jitter, hue and saturation (0.06 and 0.24) would do nothing to grey
# images. The two transforms before it give all eight positions alike.
augmentation = [
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='RandomRotFlip', rotate_prob=0., flip_prob=1.),
    dict(
        type='RandomApply',
        prob=0.2,
        transforms=[
            dict(
                type='mmpretrain.ColorJitter', brightness=0.24, contrast=0.24)
        ])
]
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', scale=crop_size[::-1]),  # width, height
    *augmentation,
    dict(type='PackSegInputs')
]
# with what the boundary loss needs: a config that has it takes this pipeline
boundary_train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', scale=crop_size[::-1]),  # width, height
    # before the flips and turns, which it follows; whole pixels as in the official
    # code
    dict(type='SignedDistanceMap', num_classes=4, truncate=True),
    *augmentation,
    dict(type='PackDistanceMap')
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=crop_size[::-1]),  # width, height
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
                dict(type='RandomFlip', prob=0., direction='horizontal'),
                dict(type='RandomFlip', prob=1., direction='horizontal')
            ],
            [dict(type='Resize', scale=crop_size[::-1])],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')]
        ])
]
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    # one batch of a single image would leave the norm layers nothing to average
    drop_last=True,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(
            img_path='images/train', seg_map_path='annotations/train'),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(
            img_path='images/val', seg_map_path='annotations/val'),
        pipeline=test_pipeline))
test_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(
            img_path='images/test', seg_map_path='annotations/test'),
        pipeline=test_pipeline))

# published NEU-Seg figures leave the background out of the mean
val_evaluator = dict(type='DefectIoUMetric', exclude_background=True)
test_evaluator = val_evaluator
