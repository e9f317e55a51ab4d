"""Folders of images, as tests write them."""

import io
import pathlib

import numpy as np
from PIL import Image


def encoded(image, form, **options):
    """A file's content."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def image(seed, width=20, height=24, mode="RGB"):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels).convert(mode)


COLOURS = {
    "CMYK": lambda size: encoded(image(1, *size, "CMYK"), "JPEG"),
    "gray": lambda size: encoded(image(1, *size, "L"), "JPEG"),
    "1 bit": lambda size: encoded(image(1, *size, "1"), "PNG"),
    "16 bits": lambda size: encoded(Image.fromarray(np.asarray(image(1, *size, "L")) * np.uint16(256) + 200), "PNG"),
    "palette": lambda size: encoded(image(1, *size).quantize(77), "PNG"),
    "palette with alpha": lambda size: encoded(image(1, *size).quantize(77), "PNG", transparency=bytes(range(77))),
    "alpha": lambda size: encoded(image(1, *size, "RGBA"), "PNG"),
    "gray with alpha": lambda size: encoded(image(1, *size, "LA"), "PNG"),
}


def write(root: pathlib.Path, files: dict[str, bytes]) -> pathlib.Path:
    """Writes files, by their paths below `root`."""
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root
