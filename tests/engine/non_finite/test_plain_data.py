"""Batches survive a file that holds nothing but plain data."""

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from fastsegformer_mm.engine.non_finite.plain_data import from_plain, to_plain


def through_file(value, path):
    torch.save(value, path)
    return torch.load(path, weights_only=True)


def test_batch(tmp_path, nothing_allowed):
    label = torch.randint(9, (1, 4, 4))
    sample = SegDataSample(
        gt_sem_seg=PixelData(data=label),
        metainfo=dict(
            img_path=tmp_path / 'a.jpg', ori_shape=torch.Size([4, 5]),
            scale_factor=(np.float32(0.5), np.float64(2)), flip=np.bool_(True),
            flip_direction=None, matrix=np.eye(2, dtype=np.float32),
            names=np.array(['x', 'y']), kinds={'only'}, nested={'k': [1, 2.5]}))
    inputs = torch.randn(6, 3, 4, 4)
    batch = dict(inputs=inputs[:2], data_samples=[sample])
    again = from_plain(through_file(to_plain(batch), tmp_path / 'f.pth'))
    assert torch.equal(again['inputs'], inputs[:2])
    found = again['data_samples'][0]
    assert isinstance(found, SegDataSample)
    assert torch.equal(found.gt_sem_seg.data, label)
    meta = found.metainfo
    assert torch.equal(meta.pop('matrix'), torch.eye(2))
    assert meta == dict(
        img_path=str(tmp_path / 'a.jpg'), ori_shape=(4, 5), scale_factor=(0.5, 2.0),
        flip=True, flip_direction=None, names=['x', 'y'], kinds="{'only'}",
        nested={'k': [1, 2.5]})
    # a copy, and no more than the part that is seen of it
    plain = to_plain(inputs[:2])
    assert plain.untyped_storage().nbytes() == inputs[:2].numel() * 4
    inputs.zero_()
    assert plain.abs().sum() > 0


def test_unknown_class():
    with pytest.raises(ValueError, match=r"class 'os.system'; expected one of SegDat"):
        from_plain([{'__element__': 'os.system', 'metainfo': {}, 'data': {}}])
