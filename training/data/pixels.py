"""Images in files, decoded by Pillow: small ones, and photographs that are no JPEGs."""

import io
import pathlib
from collections.abc import Sequence

import numpy as np

from training.errors import UserError

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
GRAY = ("1", "L", "LA", "I;16")


def shape(file: pathlib.Path | bytes) -> tuple[int, int, int]:
    """Height, width and channels, 1 or 3, of an image: a file, or its content.

    Raises:
        Exception: whatever Pillow has to say of what does not begin like an image.
    """
    with _open(file) as image:
        return image.height, image.width, 1 if image.mode in GRAY else 3


def is_one(content: bytes) -> bool:
    """Whether a file's content is an image."""
    try:
        decode(content)
    except Exception:  # whatever Pillow has to say
        return False
    return True


def read(paths: Sequence[pathlib.Path], height: int, width: int) -> np.ndarray:
    """Images (N, height, width, channels) uint8: 1 channel where all are gray, else 3.

    Raises:
        UserError: one has another size, or cannot be decoded.
    """
    images = np.empty((len(paths), height, width, 1), np.uint8)
    for i, path in enumerate(paths):
        try:
            pixels = decode(path)
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


def decode(file: pathlib.Path | bytes) -> np.ndarray:
    """An image, (height, width, channels) uint8: of a moving one the first, alpha dropped, as it lies in the file.

    Raises:
        Exception: whatever Pillow has to say of what is no image.
    """
    with _open(file) as image:
        if image.mode == "I;16":
            return (np.asarray(image) >> 8).astype(np.uint8)[..., None]
        opaque = image.convert("RGBA") if image.mode == "P" else image  # Pillow warns of a palette with alpha
        pixels = np.asarray(opaque.convert("L" if image.mode in GRAY else "RGB"))
        return pixels.reshape(image.height, image.width, -1)


def _open(file):
    from PIL import Image

    return Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=FORMATS)
