# FastSegFormer-E on a data set of your own, in the layout of Pascal VOC:
#
#   data/my_set/
#     JPEGImages/NAME.jpg            the images, of any size
#     SegmentationClass/NAME.png     label maps, 8-bit, one class index a pixel
#                                    (grey or palette; 255: not labelled)
#     ImageSets/Segmentation/train.txt, val.txt, test.txt    one NAME a line
#
# Copy this file beside itself, in this folder, and change the block below.
# tools/dataset_converters/ brings coloured masks into this layout and writes the
# three lists.
_base_ = [
    '../_base_/models/fastsegformer-e.py',
    '../_base_/datasets/voc_layout_template.py',
    '../_base_/schedules/adam_100e.py', '../_base_/default_runtime.py'
]
# ---- change these ----------------------------------------------------------
data_root = 'data/my_set'
# in the order of the label values: the name at position i belongs to value i
classes = ('background', 'defect')
# The class called background (or bg) is not drawn, counted or graded. If yours has
# another name, add its position to `metainfo` below: background=0.
# one RGB colour a class, for pictures only
palette = [[0, 0, 0], [220, 20, 60]]
batch_size = 32
# ----------------------------------------------------------------------------

metainfo = dict(classes=classes, palette=palette)
dataset = dict(data_root=data_root, metainfo=metainfo)
train_dataloader = dict(batch_size=batch_size, dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
model = dict(decode_head=dict(num_classes=len(classes)))
