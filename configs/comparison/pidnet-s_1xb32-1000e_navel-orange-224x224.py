_base_ = [
    '../_base_/models/pidnet-s.py',
    '../_base_/datasets/navel_orange_224x224.py',
    '../_base_/schedules/adam_1000e.py', '../_base_/default_runtime.py'
]
# the boundary branch learns from the edges of the label map
train_pipeline = [
    *_base_.train_pipeline[:-1],
    dict(type='GenerateEdge', edge_width=4),
    _base_.train_pipeline[-1]
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
