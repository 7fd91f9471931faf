# What a teacher at 512x512 is trained and scored on. For a student at a lower
# resolution, the training images come at the teacher's.
teacher_size = (512, 512)  # height, width
teacher_train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(
        type='RandomScalePaste',
        size=teacher_size,
        aspect_jitter=0.3,
        scale_range=(0.25, 2.0),
        pad_val=128),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='RandomHSV', hue_gain=0.1, saturation_gain=0.7, value_gain=0.3),
    dict(type='PackSegInputs')
]
teacher_test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LetterBox', size=teacher_size),
    dict(type='LoadAnnotations'),
    dict(
        type='PackSegInputs',
        meta_keys=('img_path', 'seg_map_path', 'ori_shape', 'img_shape',
                   'pad_shape', 'scale_factor', 'flip', 'flip_direction',
                   'reduce_zero_label', 'padding_size'))
]
