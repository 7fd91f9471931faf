"""A segmentor as one module from the image to the logits, and how it is loaded."""

import copy
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.network import DeployNetwork, load_network
from fastsegformer_mm.engine.checkpoint.errors import CheckpointError

ROOT = Path(__file__).parents[2]
CASES = Path(__file__).with_name('segmentor_cases.py')
cases = SimpleNamespace(**runpy.run_path(str(CASES)))
META = dict(img_shape=(64, 64), ori_shape=(64, 64))


def image(side=64):
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))


def encoded(segmentor, x):
    """MMSegmentation's own logits."""
    with torch.no_grad():
        return segmentor.encode_decode(x, [META])


@pytest.fixture(scope='module')
def segmentor():
    return cases.make_segmentor(cases.make_config())


@pytest.fixture
def checkpoint(tmp_path, segmentor):
    def write(name='best.pth', meta=None, prefix='', **changes):
        weights = {prefix + k: v for k, v in segmentor.state_dict().items()}
        weights.update(changes)
        torch.save(dict(state_dict=weights, meta=meta or {}), tmp_path / name)
        return tmp_path / name

    return write


class TestDeployNetwork:
    @pytest.mark.parametrize('corners', [True, False])
    def test_logits_of_mmsegmentation(self, corners):
        segmentor = cases.make_segmentor(cases.make_config(align_corners=corners))
        with torch.no_grad():
            found = DeployNetwork(segmentor)(image())
        assert found.shape == (1, 4, 64, 64)
        assert torch.equal(found, encoded(segmentor, image()))

    def test_cascade(self):
        cfg = cases.make_config()
        head = cfg.model.decode_head
        second = dict(
            type='OCRHead',
            in_channels=32,
            in_index=3,
            channels=8,
            ocr_channels=8,
            num_classes=4,
            align_corners=True,
            norm_cfg=dict(type='BN'),
        )
        cfg.model.update(
            type='CascadeEncoderDecoder', num_stages=2, decode_head=[head, second]
        )
        init_default_scope('mmseg')
        segmentor = cases.as_trained(MODELS.build(cfg.model)).eval()
        with torch.no_grad():
            found = DeployNetwork(segmentor)(image())
        assert torch.equal(found, encoded(segmentor, image()))

    def test_first_of_several_maps(self, segmentor):
        class Several(torch.nn.Module):
            def forward(self, maps):
                return maps[0], maps[1]

        changed = copy.deepcopy(segmentor)
        changed.decode_head = Several()
        with torch.no_grad():
            found = DeployNetwork(changed)(image())
            first = changed.extract_feat(image())[0]
        assert found.shape == (1, first.shape[1], 64, 64)
        assert torch.equal(found[..., 0, 0], first[..., 0, 0])

    def test_only_what_tests_compute(self):
        cfg = cases.make_config()
        cfg.model.auxiliary_head = dict(cfg.model.decode_head)
        init_default_scope('mmseg')
        segmentor = MODELS.build(cfg.model).train()
        network = DeployNetwork(segmentor)
        keys = network.state_dict()
        assert not [k for k in keys if 'auxiliary' in k]
        assert not any(m.training for m in network.modules())
        assert not any(p.requires_grad for p in network.parameters())
        # the segmentor stays as it was
        assert segmentor.auxiliary_head is not None
        assert segmentor.training
        assert all(p.requires_grad for p in segmentor.parameters())

    def test_a_copy(self, segmentor):
        network = DeployNetwork(segmentor)
        before = segmentor.decode_head.conv_seg.bias.clone()
        network.segmentor.decode_head.conv_seg.bias.fill_(3)
        assert torch.equal(segmentor.decode_head.conv_seg.bias, before)

    def test_sliding_window(self, segmentor):
        sliding = copy.deepcopy(segmentor)
        sliding.test_cfg = dict(mode='slide', crop_size=(32, 32), stride=(16, 16))
        with pytest.raises(DeployError, match="mode='slide'; expected 'whole'"):
            DeployNetwork(sliding)


class TestLoadNetwork:
    @pytest.mark.parametrize('prefix', ['', 'module.'])
    def test_weights(self, segmentor, checkpoint, prefix):
        path = checkpoint(prefix=prefix)
        network, card = load_network(cases.make_config(), path)
        with torch.no_grad():
            assert torch.equal(network(image()), encoded(segmentor, image()))
        assert card.checkpoint == 'best.pth'
        assert len(card.sha256) == 64
        assert not card.random_weights

    def test_digest_is_of_the_weights(self, checkpoint):
        cfg = cases.make_config()
        _, first = load_network(cfg, checkpoint('a.pth'))
        _, same = load_network(cfg, checkpoint('b.pth', meta=dict(iter=7)))
        bias = {'decode_head.conv_seg.bias': torch.ones(4)}
        _, other = load_network(cfg, checkpoint('c.pth', **bias))
        assert first.sha256 == same.sha256 != other.sha256

    def test_deep_supervision_is_optional(self, segmentor, checkpoint):
        extra = {'auxiliary_head.conv_seg.bias': torch.zeros(4)}
        network, _ = load_network(cases.make_config(), checkpoint(**extra))
        with torch.no_grad():
            assert torch.equal(network(image()), encoded(segmentor, image()))

    def test_classes_of_the_checkpoint(self, checkpoint):
        meta = dict(classes=('a', 'b', 'c', 'd'), palette=[[k, 0, 0] for k in range(4)])
        _, card = load_network(
            cases.make_config(), checkpoint(meta=dict(dataset_meta=meta))
        )
        assert card.classes == ('a', 'b', 'c', 'd')
        assert card.palette == ((0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0))

    def test_config_file_and_options(self, tmp_path, checkpoint):
        cases.make_config().dump(tmp_path / 'my_net.py')
        options = {'model.data_preprocessor.bgr_to_rgb': False}
        _, card = load_network(tmp_path / 'my_net.py', checkpoint(), options)
        assert (card.name, card.to_rgb) == ('my_net', False)

    def test_config_stays_as_it_is(self, checkpoint):
        cfg = cases.make_config()
        cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint='missing')
        before = copy.deepcopy(cfg._cfg_dict)
        load_network(cfg, checkpoint(), {'model.data_preprocessor.std': [1, 1, 1]})
        assert cfg._cfg_dict == before

    def test_random_weights_on_request_only(self):
        with pytest.raises(DeployError, match=r'no checkpoint was given.*best_mIoU'):
            load_network(cases.make_config())
        _, card = load_network(cases.make_config(), allow_random=True)
        assert card.random_weights
        assert (card.checkpoint, card.sha256) == ('', '')

    def test_weights_of_another_network(self, checkpoint):
        wrong = {'decode_head.conv_seg.bias': torch.zeros(9)}
        with pytest.raises(CheckpointError, match=r'decode_head\.conv_seg\.bias'):
            load_network(cases.make_config(), checkpoint(**wrong))

    def test_no_segmentor(self):
        cfg = cases.make_config()
        cfg.model = Config(dict(model=cfg.model.backbone)).model
        with pytest.raises(DeployError, match='builds a ResNetV1c, not a segmentation'):
            load_network(cfg, allow_random=True)

    def test_a_config_of_this_repository(self):
        (config,) = (ROOT / 'configs/fastsegformer').glob(
            'fastsegformer-e_efficientformerv2-s0_1xb32-1000e_navel-orange-224x224.py'
        )
        network, card = load_network(config, allow_random=True)
        assert (card.size, card.resize, card.align_corners) == (
            (224, 224),
            'letterbox',
            True,
        )
        assert card.classes[0] == 'background'
        with torch.no_grad():
            assert network(image()).shape == (1, 4, 64, 64)
