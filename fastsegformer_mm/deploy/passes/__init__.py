"""Changes of a trained network that leave its outputs as they are, one a file.

Each is a function of a network, which it changes in place, and an example of its
input, and returns how many places it changed.
"""

from .attention import simplify_attention
from .conv_bn import fold_conv_bn
from .early_classifier import classify_before_resize
from .layer_scale import fold_layer_scale
from .norm_conv import fold_norm_conv
from .pool_mixer import simplify_pool_mixer
from .unread_norms import drop_unread_norms

# in the order in which they find most to do
PASSES = {
    'unread_norms': drop_unread_norms,
    'conv_bn': fold_conv_bn,
    'norm_conv': fold_norm_conv,
    'pool_mixer': simplify_pool_mixer,
    'layer_scale': fold_layer_scale,
    'attention': simplify_attention,
    'early_classifier': classify_before_resize,
}

__all__ = ['PASSES']
