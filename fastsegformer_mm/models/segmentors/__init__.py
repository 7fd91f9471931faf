"""Segmentors: the image as one more feature map."""

from .encoder_decoder_with_image import EncoderDecoderWithImage

__all__ = ['EncoderDecoderWithImage']
