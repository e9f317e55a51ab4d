"""The part of a photograph that a network sees (4.3); nothing else of it is decoded."""

SIZE, SHORTER_SIDE = 224, 256
AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)
DCT = "INTEGER_FAST"


def random_view(seed, epoch, place, jpeg):
    """A random part of the photograph, flipped in half of the cases (4.3)."""
    import tensorflow as tf

    begin, size = random_window(seed, epoch, place, jpeg)
    return tf.image.stateless_random_flip_left_right(_decode(jpeg, begin, size), _key(seed, epoch, 2 * place + 1))


def random_window(seed, epoch, place, jpeg):
    """Begin and size (height, width) of a random part of 8% to 100% of the area, of aspect 3/4 to 4/3 (4.3)."""
    import tensorflow as tf

    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.io.extract_jpeg_shape(jpeg),
        bounding_boxes=tf.zeros([1, 0, 4]),
        seed=_key(seed, epoch, 2 * place),
        min_object_covered=0.0,
        aspect_ratio_range=ASPECT,
        area_range=AREA,
        use_image_if_no_bounding_boxes=True,
    )
    return begin[:2], size[:2]


def _key(seed, epoch, number):
    import tensorflow as tf

    return tf.stack([seed + tf.cast(epoch, tf.int64) * 2**32, tf.cast(number, tf.int64)])


def central_view(place, jpeg):
    """The central 224 pixels of the photograph whose shorter side is made 256 (4.3)."""
    import tensorflow as tf

    shape = tf.io.extract_jpeg_shape(jpeg)
    side = tf.cast(tf.round(tf.cast(tf.reduce_min(shape[:2]), tf.float32) * SIZE / SHORTER_SIDE), tf.int32)
    return _decode(jpeg, (shape[:2] - side) // 2, tf.stack([side, side]))


def _decode(jpeg, begin, size):
    """Decodes the part of a JPEG, and resizes it."""
    import tensorflow as tf

    window = tf.concat([begin, size], axis=0)
    image = tf.io.decode_and_crop_jpeg(jpeg, window, channels=3, dct_method=DCT)
    return tf.cast(tf.round(tf.image.resize(image, (SIZE, SIZE))), tf.uint8)
