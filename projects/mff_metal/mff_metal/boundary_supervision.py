"""Distance maps of the data samples, handed to the losses that want them."""


class BoundarySupervision:
    """Mixin of decode heads whose losses may want signed distance maps.

    It stands before the head it extends::

        class MFFMetalHead(BoundarySupervision, BaseDecodeHead):
    """

    def loss_by_feat(self, seg_logits, batch_data_samples) -> dict:
        """The head's losses, as without the mixin."""
        return super().loss_by_feat(seg_logits, batch_data_samples)
