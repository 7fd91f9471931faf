"""An index into a data set that knows its epoch."""


class SampleIndex(int):
    """An index into a data set that knows the epoch it is drawn for.

    Attributes:
        epoch (int): How often the whole data set was drawn before.

    Example:
        >>> index = SampleIndex(7, epoch=2)
        >>> index, index.epoch, ['a'] * 10 == ['a'] * (index + 3)
        (7, 2, True)
    """

    def __new__(cls, index: int, epoch: int):
        made = super().__new__(cls, index)
        made.epoch = epoch
        return made

    def __reduce__(self):
        return SampleIndex, (int(self), self.epoch)
