from collections.abc import Sequence

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor


class MultiLevelHead(BaseDecodeHead):
    """Base of the heads that read several backbone maps and maybe the image.

    It fills in what :class:`BaseDecodeHead` wants for several maps and says what
    is wrong when the maps it gets are not those it was built for.

    Args:
        in_channels (Sequence[int]): Widths of the maps, from shallow to deep.
        channels (int): Width of the decoder's last map.
        with_image (bool): Whether the last of the maps is the input image, which
            :class:`EncoderDecoderWithImage` appends.
        in_index (Sequence[int], optional): Which of the maps to read. Defaults to
            None, which is the first ``len(in_channels)``.
        num_maps (int): Backbone maps, without the image. Defaults to 4.
        **kwargs: As :class:`BaseDecodeHead`; ``norm_cfg`` defaults to BN.

    Raises:
        ValueError: If the number of widths or of indices is not ``num_maps``, or one
            more with the image; at the forward pass, if a map is missing or has
            another width.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        with_image: bool,
        in_index: Sequence[int] | None = None,
        num_maps: int = 4,
        **kwargs,
    ):
        name = type(self).__name__
        count = num_maps + with_image
        if len(in_channels) != count:
            image = ', and the image (3) as the last' if with_image else ' alone'
            raise ValueError(
                f'{name} needs in_channels of {num_maps} backbone maps{image}, got '
                f'{list(in_channels)}'
            )
        if in_index is None:
            in_index = list(range(count))
        if len(in_index) != count:
            raise ValueError(
                f'{name} needs one in_index for each of in_channels '
                f'{list(in_channels)}, got {list(in_index)}'
            )
        kwargs.setdefault('norm_cfg', {'type': 'BN'})
        super().__init__(
            in_channels,
            channels,
            in_index=in_index,
            input_transform='multiple_select',
            **kwargs,
        )
        self.with_image = with_image

    def _transform_inputs(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The maps of ``in_index``, checked against ``in_channels``."""
        widths = [x.shape[1] for x in inputs]
        wanted = dict(zip(self.in_index, self.in_channels))
        if any(i >= len(widths) or widths[i] != wanted[i] for i in wanted):
            message = (
                f'{type(self).__name__} reads maps of these widths, by index: '
                f'{wanted}, but got {len(widths)} maps of widths {widths}. '
            )
            if self.with_image:
                message += (
                    'The last one it reads is the input image, which the segmentor '
                    "appends: set type='EncoderDecoderWithImage' for the model, and "
                )
            else:
                message += 'To mend it, '
            raise ValueError(message + "match the backbone's out_indices.")
        return super()._transform_inputs(inputs)
