"""Small images in files, decoded by Pillow; photographs are decoded in `training.data.crops`."""

import pathlib
from collections.abc import Sequence

import numpy as np

from training.errors import UserError

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")  # what TensorFlow decodes, too
GRAY = ("1", "L", "LA", "I;16")


def shape(path: pathlib.Path) -> tuple[int, int, int] | None:
    """Height, width and channels, 1 or 3, of an image; None where the file does not begin like one."""
    try:
        with _open(path) as image:
            return image.height, image.width, 1 if image.mode in GRAY else 3
    except Exception:  # whatever Pillow has to say
        return None


def read(paths: Sequence[pathlib.Path], height: int, width: int) -> np.ndarray:
    """Images (N, height, width, channels) uint8: 1 channel where all are gray, else 3.

    Raises:
        UserError: one has another size, or cannot be decoded.
    """
    images = np.empty((len(paths), height, width, 1), np.uint8)
    for i, path in enumerate(paths):
        try:
            pixels = _decode(path)
        except Exception as error:  # whatever Pillow has to say
            raise UserError(f"{path}: expected an image, found none ({error})") from error
        if pixels.shape[:2] != (height, width):
            raise UserError(
                f"{path}: expected {height} pixels in height and {width} in width, as of other images there, "
                f"found {pixels.shape[0]} and {pixels.shape[1]}"
            )
        if pixels.shape[2] > images.shape[3]:
            images = np.repeat(images, pixels.shape[2], axis=3)
        images[i] = pixels
    return images


def _open(path):
    from PIL import Image

    return Image.open(path, formats=FORMATS)


def _decode(path):
    """Height, width and 1 or 3 channels, uint8. Alpha is dropped; orientation of EXIF is not looked at."""
    with _open(path) as image:
        if image.mode == "I;16":
            return (np.asarray(image) >> 8).astype(np.uint8)[..., None]
        opaque = image.convert("RGBA") if image.mode == "P" else image  # Pillow warns of a palette with alpha
        pixels = np.asarray(opaque.convert("L" if image.mode in GRAY else "RGB"))
        return pixels.reshape(image.height, image.width, -1)
