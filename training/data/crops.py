"""The part of a photograph that a network sees (4.3); nothing else of a JPEG is decoded.

A photograph is what TensorFlow decodes: JPEG, PNG, GIF (its first frame), BMP or WebP that does not move, whatever its
file is called. Orientation of EXIF is not looked at.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

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

    def of_jpeg():
        part = tf.concat(window(tf.io.extract_jpeg_shape(photograph)), axis=0)
        return tf.io.decode_and_crop_jpeg(photograph, part, channels=3, dct_method=DCT)

    def of_another():
        image = _decode(photograph)
        begin, part = window(tf.shape(image))
        return tf.slice(image, tf.concat([begin, [0]], axis=0), tf.concat([part, [3]], axis=0))

    image = tf.cond(tf.io.is_jpeg(photograph), of_jpeg, of_another)
    return tf.cast(tf.round(tf.image.resize(image, (size, size))), tf.uint8)


def is_one(content) -> bool:
    """Whether a file's content is a photograph."""
    import tensorflow as tf

    try:
        _decode(content)
    except tf.errors.OpError:
        return False
    return True


def _decode(content):
    """The whole image, (height, width, 3) uint8; alpha is dropped. A moving WebP is refused."""
    import tensorflow as tf

    head = tf.io.decode_raw(tf.strings.substr(content, 0, 21), tf.uint8)
    moving = tf.reduce_all(head[8:16] == tf.constant(list(b"WEBPVP8X"), tf.uint8)) & (head[20] & 2 != 0)
    content = tf.where(moving, b"", content)  # TensorFlow 2.21 writes such a one beyond the memory that it has for it
    image = tf.io.decode_image(content, expand_animations=False)
    bmp = (head[0] == ord("B")) & (head[1] == ord("M"))
    image = tf.cond(bmp & (tf.shape(image)[2] == 1), lambda: _of_palette(content, image), lambda: image)
    colours = tf.where(tf.shape(image)[2] < 3, [0, 0, 0], [0, 1, 2])  # gray, and perhaps alpha; or these and more
    return tf.ensure_shape(tf.gather(image, colours, axis=2), (None, None, 3))


def _of_palette(bmp, indices):
    """TensorFlow takes the indices of a BMP's palette for gray."""
    import tensorflow as tf

    stored = tf.io.decode_raw(bmp, tf.uint8)
    pixels, header = (tf.bitcast(stored[place : place + 4], tf.int32) for place in (10, 14))
    palette = tf.reshape(stored[14 + header : pixels], (-1, 4))
    return tf.gather(palette[:, 2::-1], tf.cast(indices[..., 0], tf.int32))
