"""Blocks of LMFFNet that MFF-Metal shares."""

from .attention_decoder import AttentionDecoder
from .feature_fusion import FeatureFusion, PartitionChannelAttention
from .norm_act import NormAct, per_channel
from .split_extract_merge import SplitExtractMerge
from .stage import Downsampling, Stage, check_stages
from .stem import Stem

__all__ = [
    'AttentionDecoder',
    'Downsampling',
    'FeatureFusion',
    'NormAct',
    'PartitionChannelAttention',
    'SplitExtractMerge',
    'Stage',
    'Stem',
    'check_stages',
    'per_channel',
]
