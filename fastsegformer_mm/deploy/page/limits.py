"""How much one visitor may ask of the page."""

from dataclasses import dataclass, fields

from fastsegformer_mm.deploy.errors import DeployError

# above it Pillow itself warns of a decompression bomb
MOST_MEGAPIXELS = 89


@dataclass(frozen=True)
class Limits:
    """What the page takes, and how much of it at once.

    Args:
        megabytes (float): Of one upload, in 10^6 bytes. Defaults to 50.
        megapixels (float): Of a picture or of a video's frame, in 10^6 pixels, read
            from the header before anything is decoded. Defaults to 50, at most 89.
        seconds (float): Duration of a video. Defaults to 60.
        frames (int): Frames of a video. Defaults to 1800.
        queue (int): Requests that wait. Defaults to 16.
        concurrency (int): Requests that are worked on at once. A model computes one
            frame at a time all the same, so that with 2, the default, a picture has
            its turn between the frames of a long video.
        visitors (int): Browser windows whose last upload is kept in memory to be
            computed again with another model. Defaults to 16.

    Raises:
        DeployError: A limit is no positive number.

    Example:
        >>> Limits(megapixels=12).megapixels
        12
        >>> Limits(queue=0)
        Traceback (most recent call last):
        ...
        fastsegformer_mm.deploy.errors.DeployError: queue=0; expected more than 0
    """

    megabytes: float = 50
    megapixels: float = 50
    seconds: float = 60
    frames: int = 1800
    queue: int = 16
    concurrency: int = 2
    visitors: int = 16

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise DeployError(f'{field.name}={value}; expected more than 0')
        if self.megapixels > MOST_MEGAPIXELS:
            raise DeployError(
                f'megapixels={self.megapixels}; expected at most {MOST_MEGAPIXELS}, '
                'above which Pillow takes a picture for a decompression bomb'
            )

    @property
    def bytes(self) -> int:
        """Of one upload."""
        return round(self.megabytes * 1e6)

    @property
    def pixels(self) -> int:
        """Of a picture or a frame."""
        return round(self.megapixels * 1e6)
