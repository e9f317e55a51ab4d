"""A photograph is a file of any usual format; of a JPEG, its part alone is decoded."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from training.data import crops, pixels

RGB = np.random.default_rng(0).integers(0, 256, (24, 31, 3), np.uint8)
COLOURS, GRAY = Image.fromarray(RGB), Image.fromarray(RGB[..., 0])
DEEP = RGB[..., 0] * np.uint16(256) + 200  # 16 bits, of which the lower ones would round up
OTHERS = [COLOURS.rotate(180), GRAY.convert("RGB")]


def see_through(image):
    image = image.copy()
    image.putalpha(GRAY)
    return image


def stored(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


EXACT = {"lossless": True, "exact": True}  # of WebP
MANY = {"save_all": True, "append_images": OTHERS, "duration": 100}
# A file, and the pixels in it.
LOSSLESS = {
    "PNG": (stored(COLOURS, "PNG"), RGB),
    "gray PNG": (stored(GRAY, "PNG"), GRAY),
    "gray PNG with alpha": (stored(see_through(GRAY), "PNG"), GRAY),
    "PNG of 1 bit": (stored(GRAY.convert("1"), "PNG"), GRAY.convert("1")),
    "PNG of 16 bits": (stored(Image.fromarray(DEEP), "PNG"), GRAY),
    "PNG with a palette": (stored(COLOURS.quantize(99), "PNG"), COLOURS.quantize(99)),
    "PNG with alpha": (stored(see_through(COLOURS), "PNG"), RGB),
    "GIF": (stored(COLOURS.quantize(99), "GIF"), COLOURS.quantize(99)),
    "moving GIF": (stored(COLOURS.quantize(99), "GIF", **MANY), COLOURS.quantize(99)),
    "BMP": (stored(COLOURS, "BMP"), RGB),
    "gray BMP": (stored(GRAY, "BMP"), GRAY),
    "BMP with a palette": (stored(COLOURS.quantize(99), "BMP"), COLOURS.quantize(99)),
    "BMP with alpha": (stored(see_through(COLOURS), "BMP"), RGB),
    "WebP": (stored(COLOURS, "WEBP", **EXACT), RGB),
    "BMP of 1 bit": (stored(GRAY.convert("1"), "BMP"), GRAY.convert("1")),
    "moving WebP": (stored(COLOURS, "WEBP", **EXACT, **MANY), RGB),
    "WebP with alpha": (stored(see_through(COLOURS), "WEBP", **EXACT), RGB),
}


def view(photograph, window, size):
    """As it is done in a `tf.data` pipeline."""
    (found,) = tf.data.Dataset.from_tensors(photograph).map(lambda content: crops.view(content, window, size))
    return found.numpy()


@pytest.mark.parametrize("kind", LOSSLESS)
def test_a_part_of_any_file_is_the_same_part_of_its_pixels(kind):
    content, image = LOSSLESS[kind]
    expected = np.asarray(image if isinstance(image, np.ndarray) else image.convert("RGB"))
    found = view(content, lambda shape: (shape[:2] // 3, tf.constant([12, 12])), 12)
    np.testing.assert_array_equal(found, expected[8:20, 10:22])
    assert pixels.is_one(content)


def test_a_jpeg_is_decoded_in_part_to_what_the_whole_has_there():
    """Its blocks are of 8 pixels; one that is not needed is not decoded."""
    content = stored(COLOURS, "JPEG", subsampling=0)
    whole = tf.io.decode_jpeg(content, dct_method=crops.DCT).numpy()
    found = view(content, lambda shape: (tf.constant([8, 8]), tf.constant([16, 16])), 16)
    np.testing.assert_array_equal(found, whole[8:24, 8:24])


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_orientation_is_not_looked_at(form):
    orientation = Image.Exif()
    orientation[0x0112] = 6  # turned by a quarter
    plain, turned = stored(COLOURS, form), stored(COLOURS, form, exif=orientation)
    assert turned != plain
    np.testing.assert_array_equal(*(crops.central_view(content, 40) for content in (plain, turned)))


NONE = [b"", b"BM", b"\xc2" * 9, b"\xff\xd8\xff", b"no photograph", stored(COLOURS, "TIFF")]


@pytest.mark.parametrize("content", NONE, ids=lambda content: repr(content[:16]))
def test_other_files_are_no_photographs(content):
    assert not pixels.is_one(content)
    with pytest.raises(tf.errors.OpError):
        view(content, lambda shape: (tf.constant([0, 0]), tf.constant([1, 1])), 12)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
def test_a_file_that_is_cut_off_is_no_photograph(form):
    content = stored(COLOURS, form)
    for part in (0.1, 0.5, 0.9):
        cut = content[: int(part * len(content))]
        assert not pixels.is_one(cut), part
        with pytest.raises(tf.errors.OpError):
            view(cut, lambda shape: (tf.constant([0, 0]), shape[:2]), 12)
