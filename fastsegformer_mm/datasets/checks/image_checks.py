"""What is wrong with one image, as its file is and as the loader gives it."""
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import mmcv
import numpy as np
from PIL import Image

ORIENTATION = 0x0112
# what a download that went wrong leaves in place of a picture
IMPOSTORS = {b'version https://git-lfs': 'a Git LFS pointer, not the file itself',
             b'<!doctype html': 'an HTML page', b'<html': 'an HTML page'}
# kind, severity, value, expected, way out
Finding = tuple[str, str, str, str, str]


@dataclass
class RawFile:
    """A picture's file, decoded by Pillow without the loader's conversions.

    Args:
        mode (str): Pillow's, as 'RGB', 'P', 'L', 'CMYK'; '' if Pillow does not know
            the format.
        format (str): 'PNG', 'JPEG', ...
        size (tuple[int, int]): Height and width as stored.
        orientation (int): EXIF tag; 1 is upright.
        bits (int): Bits of a channel.
        opaque (bool): Whether no pixel is transparent.
        picture (Image.Image, optional): Itself.
        fault (str): Why it cannot be decoded; '' if it can.
    """

    mode: str = ''
    format: str = ''
    size: tuple[int, int] = (0, 0)
    orientation: int = 1
    bits: int = 8
    opaque: bool = True
    picture: Image.Image | None = None
    fault: str = ''


def read_raw(data: bytes) -> RawFile:
    """Decode a file's content completely, so that a truncated one shows."""
    start = data[:64].lower()
    for magic, what in IMPOSTORS.items():
        if start.startswith(magic):
            return RawFile(fault=what)
    raw = RawFile()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # Pillow on odd EXIF data
        try:
            picture = Image.open(io.BytesIO(data))
        except Exception:
            # not a format of Pillow's, or too large for it; the loader may know it
            return raw
        try:
            picture.load()
            raw.orientation = picture.getexif().get(ORIENTATION, 1)
        except Exception as error:
            # Pillow raises whatever its decoders happen to
            return RawFile(fault=str(error) or type(error).__name__)
    if picture.format == 'PNG' and b'IEND' not in data[-64:]:
        # Pillow is content with the pixels, OpenCV is not
        return RawFile(fault='its end is missing')
    raw.mode, raw.format = picture.mode, picture.format or ''
    raw.size, raw.picture = picture.size[::-1], picture
    if raw.mode.startswith(('I', 'F')) or (raw.format == 'PNG' and data[24] == 16):
        raw.bits = 16
    if raw.mode in ('RGBA', 'LA', 'PA'):
        raw.opaque = picture.getchannel('A').getextrema()[0] == 255
    return raw


def turns_by_exif(step: dict) -> bool:
    """Whether a loading step turns an image by its EXIF tag, found by trying."""
    data = io.BytesIO()
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.new('RGB', (16, 8)).save(data, 'JPEG', exif=exif)
    try:
        loaded = mmcv.imfrombytes(
            data.getvalue(), flag=step.get('color_type', 'color'),
            backend=step.get('imdecode_backend', 'cv2'))
    except Exception:
        return False  # a backend that does not read JPEG turns none either
    return loaded.shape[:2] == (16, 8)


def check_image(raw: RawFile, data: bytes, loaded: np.ndarray, channels: int,
                step: dict) -> Iterator[Finding]:
    """What the network would be fed that it should not.

    Args:
        raw (RawFile): The file.
        data (bytes): Its content.
        loaded (np.ndarray): What the pipeline's loader makes of it, (H, W, C) BGR or
            (H, W).
        channels (int): How many the network expects.
        step (dict): Config of the loader.

    Yields:
        tuple: Kind, severity, value, expected, way out.
    """
    found = 1 if loaded.ndim == 2 else loaded.shape[2]
    option = f"LoadImageFromFile(color_type='{step.get('color_type', 'color')}')"
    kind = f'{raw.mode} image' if raw.mode else 'image'
    if found != channels:
        yield ('image-channels', 'error',
               f'{kind}, {option} gives {found} channel(s)',
               f'{channels}, as model.data_preprocessor.mean has',
               "set color_type='color' in LoadImageFromFile")
    if raw.bits > 8:
        yield _sixteen_bits(data, loaded, option)
    elif loaded.dtype != np.uint8:
        yield ('image-16-bit', 'error', f'{option} gives {loaded.dtype}',
               '8-bit values, 0 to 255', "set color_type='color'")
    if raw.mode == 'CMYK' and found == 3:
        # compared as Pillow converts, since a profile is what neither looks at
        reference = np.asarray(raw.picture.convert('RGB'))
        off = (float(np.abs(loaded[..., ::-1].astype(int) - reference).mean())
               if reference.shape == loaded.shape else 0.)
        yield ('image-cmyk', 'error' if off > 16 else 'warning',
               'CMYK, turned into RGB by the loader without its colour profile'
               + (f', {off:.0f} of 255 off on average' if off > 16 else ''),
               'RGB', 'save it as RGB in a program that knows colour profiles')
    if not raw.opaque and found == 3:
        yield ('image-alpha', 'warning',
               f'{raw.mode} with transparent pixels, whose hidden colours the '
               'network sees', 'an opaque RGB image',
               'save it without transparency, on the background it should have')


def _sixteen_bits(data: bytes, loaded: np.ndarray, option: str) -> Finding:
    """Judge by what is left of the values after loading."""
    stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    value, severity = '16 bits a channel', 'error'
    if loaded.dtype != np.uint8:
        value += f', given as {loaded.dtype} by {option}'
    elif stored is None:
        value += f', loaded as {loaded.min()} to {loaded.max()}'
        severity = 'warning'
    else:
        low, high = int(stored.min()), int(stored.max())
        value += (f', values {low} to {high}, loaded as {loaded.min()} to '
                  f'{loaded.max()}')
        clipped = (loaded == 255).mean() - (stored == 65535).mean()
        span = int(loaded.max()) - int(loaded.min())
        # contrast in the file that hardly any of is left, or all white
        if clipped < .5 and (span >= 32 or high - low < 64):
            severity = 'warning'
            value += ', the lower 8 bits are lost'
    return ('image-16-bit', severity, value, '8 bits a channel, 0 to 255',
            'scale the values to 8 bits yourself, all images alike, and save them so')


def check_orientation(raw: RawFile, turned: bool,
                      label_size: tuple | None) -> Finding | None:
    """Whether image and label lie alike.

    mmcv's 'cv2' and 'pillow' backends turn an image as its EXIF tag says, for
    ``color_type`` 'color' and 'grayscale'; not for 'unchanged' and
    '*_ignore_orientation'. Labels are never turned.
    """
    if raw.orientation in (0, 1):
        return None
    upright = raw.size[::-1] if raw.orientation >= 5 else raw.size
    fed = upright if turned else raw.size
    height, width = fed
    value = (f'EXIF orientation {raw.orientation}, the loader '
             f'{"turns" if turned else "does not turn"} the image: {height}x{width}')
    way_out = ('save the image turned, without the tag (ImageOps.exif_transpose of '
               'Pillow), and look at it with its label')
    if label_size is None:
        return 'exif-rotation', 'warning', value, 'an image without rotation', way_out
    value += f', label {label_size[0]}x{label_size[1]}'
    if label_size == fed:
        if fed != raw.size or raw.size != upright:
            value += ', which fits'
        else:
            value += ', which does not tell whether they lie alike'
        return ('exif-rotation', 'warning', value, 'an image without rotation',
                way_out)
    return ('exif-rotation', 'error', value,
            "the label to lie as the image, of the image's size", way_out)
