from mmseg.models.backbones import SwinTransformer
from mmseg.registry import MODELS
from torch import Tensor, nn

# official name -> MMSegmentation's
_RENAMES = (
    ('patch_embed.proj.', 'patch_embed.projection.'),
    ('layers.', 'stages.'),
    ('.attn.', '.attn.w_msa.'),
    ('.mlp.fc1.', '.ffn.layers.0.0.'),
    ('.mlp.fc2.', '.ffn.layers.1.'),
)


def _to_unfold_order(value: Tensor) -> Tensor:
    """Reorder PatchMerging's inputs, the last dimension, for ``nn.Unfold``.

    The official layer concatenates the patches (row, column) = 00, 10, 01, 11,
    each with all its channels; ``nn.Unfold`` gives each channel with its patches
    00, 01, 10, 11.
    """
    patches = value.unflatten(-1, (4, -1))[..., [0, 2, 1, 3], :]
    return patches.transpose(-1, -2).flatten(-2)


def convert_official_swin(
    state_dict: dict[str, Tensor], num_stages: int = 4
) -> dict[str, Tensor]:
    """Official Swin weights under the names of MMSegmentation's Swin.

    The final norm becomes the norm of the last stage's output. The classifier is
    left out, and so are the buffers that the constructor makes.

    Args:
        state_dict (dict[str, Tensor]): Weights with the keys of `Swin Transformer's
            own repository <https://github.com/microsoft/Swin-Transformer>`_.
        num_stages (int): How many stages the network has. Defaults to 4.

    Returns:
        dict[str, Tensor]: The weights renamed, patch merging re-ordered.

    Example:
        >>> import torch
        >>> official = {'layers.0.downsample.norm.bias': torch.arange(8),
        ...             'norm.bias': torch.zeros(2), 'head.bias': torch.zeros(9)}
        >>> converted = convert_official_swin(official)
        >>> converted['stages.0.downsample.norm.bias'].tolist()
        [0, 4, 2, 6, 1, 5, 3, 7]
        >>> sorted(converted)
        ['norm3.bias', 'stages.0.downsample.norm.bias']
    """
    converted = {}
    for key, value in state_dict.items():
        made_anew = key.endswith(('attn_mask', 'relative_position_index'))
        if made_anew or key.startswith('head.'):
            continue
        if '.downsample.' in key:
            value = _to_unfold_order(value)
        if key.startswith('norm.'):
            key = key.replace('norm.', f'norm{num_stages - 1}.', 1)
        for old, new in _RENAMES:
            key = key.replace(old, new)
        converted[key] = value
    return converted


@MODELS.register_module()
class SwinLastNorm(SwinTransformer):
    """Swin Transformer that normalises its last output only.

    FastSegFormer and its teacher take the maps of Swin stages 1-3 as they are and
    the last one through the network's final norm, as the classification network
    has it; :class:`SwinTransformer` puts a norm on each output. Here the norms of
    all but the last output are identities, without parameters.

    Weights load under MMSegmentation's names and under the official ones, which
    are recognised and converted: ``init_cfg=dict(type='Pretrained',
    checkpoint='swin_tiny_patch4_window7_224.pth')`` takes the official file, and
    its final ``norm`` becomes the norm of the last stage.

    From `Swin Transformer: Hierarchical Vision Transformer using Shifted Windows
    <https://arxiv.org/abs/2103.14030>`_.

    Args: as :class:`SwinTransformer`.

    Raises:
        RuntimeError: If weights loaded into it, in ``init_weights`` too, hold no
            Swin stage or are of other widths.

    Example:
        >>> import torch
        >>> backbone = SwinLastNorm()
        >>> [tuple(x.shape) for x in backbone(torch.rand(1, 3, 64, 64))]
        [(1, 96, 16, 16), (1, 192, 8, 8), (1, 384, 4, 4), (1, 768, 2, 2)]
        >>> type(backbone.norm2).__name__, type(backbone.norm3).__name__
        ('Identity', 'LayerNorm')
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        for i in sorted(self.out_indices)[:-1]:
            setattr(self, f'norm{i}', nn.Identity())

    def _load_from_state_dict(self, state_dict, prefix, *args):
        own = {k for k in state_dict if k.startswith(prefix)}
        if any(k.startswith(f'{prefix}layers.') for k in own):
            # in place: the stages' weights are taken from it after this module's
            official = {k[len(prefix) :]: state_dict.pop(k) for k in sorted(own)}
            converted = convert_official_swin(official, len(self.stages))
            state_dict.update({prefix + k: v for k, v in converted.items()})
        super()._load_from_state_dict(state_dict, prefix, *args)
        # init_weights loads what fits and would leave a foreign file unnoticed
        if not prefix and not any(k.startswith('stages.') for k in state_dict):
            *_, error_msgs = args
            error_msgs.append(
                f'none of the weights is of a Swin stage (stages.* or, official, '
                f'layers.*), their keys begin with {list(state_dict)[:3]}: give the '
                f'checkpoint of a Swin backbone'
            )
