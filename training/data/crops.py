"""The part of a photograph that a network sees (4.3); nothing else of a JPEG is decoded.

Other files than JPEGs, whatever they are called, Pillow decodes. Orientation of EXIF is not looked at.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np

from training.data import pixels

TEST_PART = 224 / 256  # of the shorter side
DCT = "INTEGER_FAST"


@dataclasses.dataclass(frozen=True)
class Crop:
    """A random part of a photograph, flipped in half of the cases where `flip` says so (4.3).

    Args:
        area: least and greatest share of the photograph's area.
        aspect: least and greatest width by height.
        flip: whether a mirrored photograph keeps its label.
    """

    area: Sequence[float]
    aspect: Sequence[float]
    flip: bool

    def view(self, seed, epoch, place, photograph, size):
        """What the network sees of the photograph at a place of an epoch: (size, size, 3) uint8."""
        import tensorflow as tf

        image = view(photograph, functools.partial(self.window, seed, epoch, place), size)
        if not self.flip:
            return image
        return tf.image.stateless_random_flip_left_right(image, _key(seed, epoch, 2 * place + 1))

    def window(self, seed, epoch, place, shape):
        """Begin and size (height, width) of the part of a photograph of this shape."""
        import tensorflow as tf

        begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
            shape,
            bounding_boxes=tf.zeros([1, 0, 4]),
            seed=_key(seed, epoch, 2 * place),
            min_object_covered=0.0,
            aspect_ratio_range=self.aspect,
            area_range=self.area,
            use_image_if_no_bounding_boxes=True,
        )
        return begin[:2], size[:2]


def _key(seed, epoch, number):
    import tensorflow as tf

    return tf.stack([seed + tf.cast(epoch, tf.int64) * 2**32, tf.cast(number, tf.int64)])


def central_view(photograph, size):
    """The central part that has 224/256 of the shorter side: for 224 pixels, of the photograph resized to 256 (4.3)."""
    return view(photograph, _centre, size)


def _centre(shape):
    import tensorflow as tf

    side = tf.cast(tf.round(tf.cast(tf.reduce_min(shape[:2]), tf.float32) * TEST_PART), tf.int32)
    return (shape[:2] - side) // 2, tf.stack([side, side])


def view(photograph, window: Callable, size):
    """Decodes a part of a photograph, and resizes it: (size, size, 3) uint8.

    Args:
        photograph: its file's content.
        window: gives begin and size of the part, (height, width) each, for the photograph's shape.
        size: int, height and width.
    """
    import tensorflow as tf

    def in_python(function, kind, shape, *arguments):
        content = tf.io.decode_raw(photograph, tf.uint8)  # of a text, NumPy would drop zeros at its end
        return tf.ensure_shape(tf.numpy_function(function, [content, *arguments], kind), shape)

    def shape_of_another():
        return in_python(_shape, tf.int32, (3,))

    def part_of_jpeg():
        return tf.io.decode_and_crop_jpeg(photograph, tf.concat(part, axis=0), channels=3, dct_method=DCT)

    def part_of_another():
        return in_python(_part, tf.uint8, (None, None, 3), *part)

    is_jpeg = tf.io.is_jpeg(photograph)
    part = window(tf.cond(is_jpeg, lambda: tf.io.extract_jpeg_shape(photograph), shape_of_another))
    image = tf.cond(is_jpeg, part_of_jpeg, part_of_another)
    return tf.cast(tf.round(tf.image.resize(image, (size, size))), tf.uint8)


def _shape(content):
    return np.array(pixels.shape(content.tobytes()), np.int32)


def _part(content, begin, size):
    """Red, green and blue."""
    (top, left), (height, width) = begin, size
    part = pixels.decode(content.tobytes())[top : top + height, left : left + width]
    return np.broadcast_to(part, (height, width, 3))
