# voc_layout_template.py, and beside its labelled images others that have no label:
#
#   data/my_set/
#     JPEGImages/, SegmentationClass/, ImageSets/    as there; train.txt names the
#                                                    labelled images
#     Unlabelled/**/*.jpg                            the others; no list, no labels
#
# Teacher and student learn from the labels as before; what the student learns from the
# unlabelled images is its teacher's. See "Unlabelled images" in docs/distillation.md.
# The losses of the student's heads have to leave ignored pixels out of their mean:
#
#   model = dict(decode_head=dict(loss_decode=dict(avg_non_ignore=True)))
_base_ = './voc_layout_template.py'

# ---- change these ----------------------------------------------------------
# of a batch; half of it is a good start
labelled = _base_.batch_size // 2
# True with IterBasedTrainLoop. Of a loop of epochs each is as many batches as draw every
# labelled image once, and the next goes on with the unlabelled ones
endless = False
# ----------------------------------------------------------------------------

train_dataloader = dict(
    # every batch is whole
    sampler=dict(
        _delete_=True,
        type='PartlyLabelledSampler',
        batch_size=_base_.batch_size,
        labelled=labelled,
        endless=endless),
    dataset=dict(
        _delete_=True,
        type='PartlyLabelledDataset',
        labelled=_base_.train_dataloader.dataset,
        unlabelled=dict(
            type='UnlabelledDataset',
            data_root=_base_.data_root,
            img_suffix=_base_.img_suffix,
            data_prefix=dict(img_path='Unlabelled'),
            # the same: its LoadAnnotations reads nothing there
            pipeline=_base_.train_pipeline)))
