"""The part of a photograph that a network sees (4.3); nothing else of a JPEG is decoded."""

import dataclasses
from collections.abc import Sequence

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

    def view(self, seed, epoch, place, jpeg, size):
        """What the network sees of the photograph at a place of an epoch: (size, size, 3) uint8."""
        import tensorflow as tf

        begin, window = self.window(seed, epoch, place, jpeg)
        image = decode(jpeg, begin, window, size)
        if not self.flip:
            return image
        return tf.image.stateless_random_flip_left_right(image, _key(seed, epoch, 2 * place + 1))

    def window(self, seed, epoch, place, jpeg):
        """Begin and size (height, width) of the part."""
        import tensorflow as tf

        begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
            tf.io.extract_jpeg_shape(jpeg),
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


def central_view(jpeg, size):
    """The central part that has 224/256 of the shorter side: for 224 pixels, of the photograph resized to 256 (4.3)."""
    import tensorflow as tf

    shape = tf.io.extract_jpeg_shape(jpeg)
    side = tf.cast(tf.round(tf.cast(tf.reduce_min(shape[:2]), tf.float32) * TEST_PART), tf.int32)
    return decode(jpeg, (shape[:2] - side) // 2, tf.stack([side, side]), size)


def decode(jpeg, begin, window, size):
    """Decodes the part of a JPEG, and resizes it."""
    import tensorflow as tf

    image = tf.io.decode_and_crop_jpeg(jpeg, tf.concat([begin, window], axis=0), channels=3, dct_method=DCT)
    return tf.cast(tf.round(tf.image.resize(image, (size, size))), tf.uint8)
