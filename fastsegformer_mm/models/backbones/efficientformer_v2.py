"""EfficientFormerV2, the backbone of FastSegFormer-E."""

from collections.abc import Sequence
from math import ceil

from mmcv.cnn import build_norm_layer
from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmengine.model.weight_init import PretrainedInit, update_init_info
from mmseg.registry import MODELS
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from fastsegformer_mm.engine.checkpoint.fit import load_all_or_raise

from .efficientformer_v2_layers import (
    Attention,
    AttentionDownSampling,
    Block,
    DownSampling,
    conv_norm,
)
from .official_checkpoint import load_official_backbone


@MODELS.register_module()
class EfficientFormerV2(BaseModule):
    """EfficientFormerV2.

    `Rethinking Vision Transformers for MobileNet Size and Speed
    <https://arxiv.org/abs/2212.08059>`_ (Li et al., ICCV 2023). Parameters have
    the official names, so official ImageNet files load as they are.

    Args:
        arch (str | dict): ``'s0'``, ``'s1'``, ``'s2'``, ``'l'``, or a dict with

            - embed_dims (list[int]): channels of the four stages;
            - mlp_ratios (list[list[float]]): expansion of each block of each
              stage, which also gives the depths;
            - num_attention (int): blocks with attention at the end of stage 3
              and of stage 4;
            - drop_path_rate (float): optional, defaults to 0.

            Defaults to ``'s0'``.
        out_indices (Sequence[int]): Positions to put out: 0, 2, 4, 6 are the four
            stages; 1, 3, 5 the down-samplings. Negative ones count from the end.
            What comes after the last one is not built. Defaults to (0, 2, 4, 6).
        drop_path_rate (float, optional): Share of samples for which the last block
            is skipped in training, in [0, 1); it grows linearly from 0 at the
            first block. Defaults to None: the arch's own.
        frozen_stages (int): Parts without gradient and with fixed norm statistics,
            also after ``train()``: -1 none; 0 the patch embedding; k = 1..4 also
            stages 1..k, each with its output norm and the down-sampling that
            follows it. Defaults to -1.
        norm_eval (bool): Keep the statistics of all BatchNorms fixed in training;
            their weights still learn. Defaults to False.
        norm_cfg (dict, optional): Norm layers. Defaults to None, which is
            ``dict(type='BN')``, as the official.
        with_cp (bool): Checkpoint each block: less memory, more time, the same
            outputs, gradients and running statistics. Defaults to False.
        resolution (int): Input size in pixels for which the bias tables of the
            attention are stored; official weights have 224. Other inputs use the
            tables interpolated bilinearly with ``align_corners=True``, so that
            offset 0 and the farthest offset keep their values. Defaults to 224.
        init_cfg (dict | list[dict], optional): ``dict(type='Pretrained',
            checkpoint=FILE_OR_URL)`` loads an official ImageNet file (bare, under
            'state_dict' or under 'model'; its classifier is ignored); with
            ``prefix='backbone'`` the backbone of a segmentor. All weights must
            fit; only the output norms may be absent, as ImageNet files have none.
            Defaults to None: the official start, which is PyTorch's default
            for convolutions and norms, 1e-5 for layer scales, 0 for biases of
            attention (there is no linear layer to draw truncated normals for).

    Shape:
        - Input: ``[N, 3, H, W]``, any H and W (H or W > 32 to train with N = 1).
        - Output: a tuple, for stage i = 0..3 ``[N, embed_dims[i], H / 2^(i+2),
          W / 2^(i+2)]``, rounded up: strides 4, 8, 16, 32.

    Raises:
        ValueError: An unknown arch, position, number of frozen stages or rate; on
            ``init_weights`` a checkpoint that does not fit.

    Example:
        >>> import torch
        >>> from fastsegformer_mm.models.backbones import EfficientFormerV2
        >>> model = EfficientFormerV2('s0').eval()
        >>> for out in model(torch.rand(1, 3, 224, 224)):
        ...     print(tuple(out.shape))
        (1, 32, 56, 56)
        (1, 48, 28, 28)
        (1, 96, 14, 14)
        (1, 176, 7, 7)
    """

    arch_settings = {
        's0': {
            'embed_dims': [32, 48, 96, 176],
            'mlp_ratios': [[4] * 2, [4] * 2, [4, 3, 3, 3, 4, 4], [4, 3, 3, 4]],
            'num_attention': 2,
            'drop_path_rate': 0.0,
        },
        's1': {
            'embed_dims': [32, 48, 120, 224],
            'mlp_ratios': [
                [4] * 3,
                [4] * 3,
                [4] * 2 + [3] * 4 + [4] * 3,
                [4, 4, 3, 3, 4, 4],
            ],
            'num_attention': 2,
            'drop_path_rate': 0.0,
        },
        's2': {
            'embed_dims': [32, 64, 144, 288],
            'mlp_ratios': [
                [4] * 4,
                [4] * 4,
                [4] * 2 + [3] * 6 + [4] * 4,
                [4] * 2 + [3] * 4 + [4] * 2,
            ],
            'num_attention': 4,
            'drop_path_rate': 0.02,
        },
        'l': {
            'embed_dims': [40, 80, 192, 384],
            'mlp_ratios': [
                [4] * 5,
                [4] * 5,
                [4] * 4 + [3] * 7 + [4] * 4,
                [4] * 3 + [3] * 4 + [4] * 3,
            ],
            'num_attention': 6,
            'drop_path_rate': 0.1,
        },
    }

    def __init__(
        self,
        arch='s0',
        out_indices=(0, 2, 4, 6),
        drop_path_rate=None,
        frozen_stages=-1,
        norm_eval=False,
        norm_cfg=None,
        with_cp=False,
        resolution=224,
        init_cfg=None,
    ):
        super().__init__(init_cfg)
        norm_cfg = norm_cfg or {'type': 'BN'}
        settings = self._settings(arch)
        dims, ratios = settings['embed_dims'], settings['mlp_ratios']
        self.out_indices = self._positions(out_indices)
        if drop_path_rate is None:
            drop_path_rate = settings.get('drop_path_rate', 0.0)
        if not 0 <= drop_path_rate < 1:
            raise ValueError(
                f'drop_path_rate is {drop_path_rate}; expected a share in [0, 1)'
            )
        if frozen_stages not in range(-1, 5):
            raise ValueError(
                f'frozen_stages is {frozen_stages}; expected -1 (none), 0 (the patch '
                'embedding) or 1..4 (also that many stages)'
            )
        if resolution < 1:
            raise ValueError(f'resolution is {resolution}; expected pixels, e.g. 224')
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval

        self.patch_embed = nn.Sequential(
            *conv_norm(3, dims[0] // 2, 3, norm_cfg, stride=2),
            nn.GELU(),
            *conv_norm(dims[0] // 2, dims[0], 3, norm_cfg, stride=2),
            nn.GELU(),
        )
        total = sum(len(stage) for stage in ratios)
        index = 0
        self.network = nn.ModuleList()
        for i, dim in enumerate(dims):
            blocks = []
            for j, ratio in enumerate(ratios[i]):
                attention = None
                if i >= 2 and j >= len(ratios[i]) - settings['num_attention']:
                    # stage 3 attends at half its size: the same grid as stage 4
                    grid = ceil(resolution / 32)
                    attention = Attention(dim, grid, i == 2, norm_cfg)
                drop_path = drop_path_rate * index / max(total - 1, 1)
                blocks.append(
                    Block(dim, ratio, drop_path, norm_cfg, attention, with_cp)
                )
                index += 1
            self.network.append(nn.Sequential(*blocks))
            if i < 2:
                self.network.append(DownSampling(dim, dims[i + 1], norm_cfg))
            elif i == 2:
                grid = ceil(resolution / 16)
                self.network.append(AttentionDownSampling(dim, dims[3], grid, norm_cfg))
        # what no output needs would be parameters without gradient
        del self.network[self.out_indices[-1] + 1 :]
        for i in self.out_indices:
            norm = build_norm_layer(norm_cfg, dims[(i + 1) // 2])[1]
            self.add_module(f'norm{i}', norm)
        self._freeze()

    def _settings(self, arch):
        if isinstance(arch, str):
            if arch not in self.arch_settings:
                raise ValueError(
                    f'arch is {arch!r}; expected one of {list(self.arch_settings)} or '
                    'a dict with embed_dims, mlp_ratios and num_attention'
                )
            return self.arch_settings[arch]
        needed = {'embed_dims', 'mlp_ratios', 'num_attention'}
        if needed <= set(arch) <= needed | {'drop_path_rate'}:
            if len(arch['embed_dims']) == len(arch['mlp_ratios']) == 4:
                return arch
            raise ValueError(
                f'arch has {len(arch["embed_dims"])} embed_dims and '
                f'{len(arch["mlp_ratios"])} lists of mlp_ratios; expected 4 of each, '
                'one a stage'
            )
        raise ValueError(
            f'arch has the keys {sorted(arch)}; expected {sorted(needed)} and, if you '
            'like, drop_path_rate'
        )

    @staticmethod
    def _positions(out_indices):
        given = out_indices if isinstance(out_indices, Sequence) else [out_indices]
        positions = [i + 7 if i < 0 else i for i in given]
        if (
            not positions
            or positions != sorted(set(positions))
            or not 0 <= positions[0] <= positions[-1] <= 6
        ):
            raise ValueError(
                f'out_indices is {out_indices}; expected ascending positions in 0..6 '
                '(0, 2, 4, 6 are the stages, 1, 3, 5 the down-samplings)'
            )
        return tuple(positions)

    def forward(self, x):
        """Image batch ``[N, 3, H, W]`` to the tuple of maps at ``out_indices``."""
        x = self.patch_embed(x)
        outs = []
        for i, layer in enumerate(self.network):
            x = layer(x)
            if i in self.out_indices:
                outs.append(getattr(self, f'norm{i}')(x))
        return tuple(outs)

    def train(self, mode=True):
        """Set the mode; what is frozen stays in evaluation mode."""
        super().train(mode)
        self._freeze()
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _freeze(self):
        if self.frozen_stages < 0:
            return
        last = 2 * self.frozen_stages
        frozen = [self.patch_embed, *self.network[:last]]
        frozen += [getattr(self, f'norm{i}') for i in self.out_indices if i < last]
        for module in frozen:
            module.eval().requires_grad_(False)

    def init_weights(self):
        """Initialise by ``init_cfg``; a pretrained file comes last and must fit."""
        if self.is_init:
            super().init_weights()  # only warns
            return
        cfgs = self.init_cfg or []
        cfgs = [cfgs] if isinstance(cfgs, dict) else cfgs
        pretrained = [c for c in cfgs if c['type'] in ('Pretrained', PretrainedInit)]
        # MMEngine's own would only warn when nothing in the file fits
        kept, self.init_cfg = self.init_cfg, [c for c in cfgs if c not in pretrained]
        try:
            super().init_weights()
        finally:
            self.init_cfg = kept
        self.is_init = False  # a second call after an error must not pass
        for cfg in pretrained:
            self._load_pretrained(**{k: v for k, v in cfg.items() if k != 'type'})
        self.is_init = True

    def _load_pretrained(self, checkpoint, prefix=None, map_location='cpu'):
        weights = load_official_backbone(checkpoint, prefix, map_location)
        # outputs and parts that this model was asked not to have
        spare = [f'norm{i}.' for i in range(7) if i not in self.out_indices]
        spare += [f'network.{i}.' for i in range(len(self.network), 7)]
        weights = {k: v for k, v in weights.items() if not k.startswith(tuple(spare))}
        # ImageNet files have no output norms
        absent = [
            f'norm{i}.'
            for i in self.out_indices
            if not any(k.startswith(f'norm{i}.') for k in weights)
        ]
        optional = [k for k in self.state_dict() if k.startswith(tuple(absent))]
        load_all_or_raise(self, weights, checkpoint, optional)
        print_log(
            f'{type(self).__name__}: loaded {len(weights)} tensors from {checkpoint}; '
            f'left at their start: {absent or "none"}',
            logger='current',
        )
        if hasattr(self, '_params_init_info'):
            update_init_info(self, init_info=f'loaded from {checkpoint}')
