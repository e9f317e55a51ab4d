"""Photographs of tests."""

import io

import numpy as np
from PIL import Image


def jpeg(width, height, mode="RGB"):
    """Red grows from left to right, green from top to bottom, from 0 to 255."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 255, width)
    pixels[..., 1] = np.linspace(0, 255, height)[:, None]
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "JPEG", quality=98, subsampling=0)
    return file.getvalue()
