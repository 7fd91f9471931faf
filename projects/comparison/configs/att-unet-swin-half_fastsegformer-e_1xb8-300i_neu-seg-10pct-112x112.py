# The same with the labels of every tenth training image, for the teacher too: each
# method with these images alone, and with all others beside them, unlabelled, as half
# of each batch.
_base_ = './att-unet-swin-half_fastsegformer-e_1xb8-300i_neu-seg-112x112.py'

every = 10
labelled = list(range(0, 2205, every))
unlabelled = [i for i in range(2205) if i % every]
cfg = dict(train_dataloader=dict(dataset=dict(indices=labelled)))

data_set = dict(
    type='NEUSegDataset',
    data_root=_base_.data_root,
    data_prefix=dict(
        img_path='images/train', seg_map_path='annotations/train'),
    pipeline=_base_.teacher_train_pipeline)
images = dict(
    unlabelled=dict(
        model=dict(
            student_size=(112, 112),
            architecture=dict(
                # the mean over the labelled pixels
                decode_head=dict(loss_decode=dict(avg_non_ignore=True)))),
        train_dataloader=dict(
            batch_sampler=dict(
                type='PartlyLabelledBatchSampler', labelled=4),
            dataset=dict(
                _delete_=True,
                type='PartlyLabelledDataset',
                labelled=dict(data_set, indices=labelled),
                unlabelled=dict(
                    type='UnlabelledDataset',
                    dataset=dict(data_set, indices=unlabelled))))))
