"""ILSVRC2012 as TensorFlow Datasets prepares it (4.3): of each photograph only what is used is decoded."""

import dataclasses
import functools
import hashlib
import sys
from typing import Any

SIZE, SHORTER_SIDE = 224, 256
AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)
DCT = "INTEGER_FAST"
ORDERED = None  # instead of an epoch: the order of the files
FILES_AT_ONCE = 16
SHUFFLED = 2048  # photographs that are shuffled at a time, of so many files: 200 MB


@dataclasses.dataclass(frozen=True)
class PhotoSet:
    """The prepared data set: JPEG photographs of any size, to train and to test.

    Args:
        builder: the `tfds.core.DatasetBuilder`.
        on_bad_image: "error" ends a run at a training photograph that cannot be decoded, "skip" leaves it out.
    """

    builder: Any
    on_bad_image: str = "error"
    name = "imagenet2012"
    shape = (SIZE, SIZE, 3)

    @property
    def num_classes(self) -> int:
        return self.builder.info.features["label"].num_classes

    @property
    def train_count(self) -> int:
        return self.builder.info.splits["train"].num_examples

    @property
    def test_count(self) -> int:
        return self.builder.info.splits["validation"].num_examples

    @functools.cached_property
    def sha256(self) -> str:
        """Of the files' names, sizes and numbers of examples: reading them whole would take longer than an epoch."""
        digest = hashlib.sha256()
        for split in ("train", "validation"):
            info = self.builder.info.splits[split]
            for path, count in zip(info.filepaths, info.shard_lengths, strict=True):
                digest.update(f"{path.name} {path.stat().length} {count}\n".encode())
        return digest.hexdigest()

    def batches(self, batch_size: int, seed: int, augment: bool, part: tuple[int, int] = (0, 1)) -> "PhotoBatches":
        return PhotoBatches(self, batch_size, seed, augment, part)


class PhotoBatches:
    """The training batches of a run, and the test images, as `tf.data`.

    The order of the files is a function of (seed, epoch), that of their photographs one of (seed, epoch, block), crop
    and flip one of (seed, epoch, place in the epoch). What does not fill the last batch of an epoch is left out of it.

    Args:
        images: the data set.
        batch_size: int, images a batch, over all workers.
        seed: int from 0 to 2**32 - 1.
        augment: whether to crop at random and to flip; else every image is cropped as those to test.
        part: (index of this worker, number of workers): each decodes its part of every batch.
    """

    def __init__(self, images: PhotoSet, batch_size: int, seed: int, augment: bool, part: tuple[int, int]):
        self.images = images
        self.batch_size = batch_size
        self.seed = seed
        self.augment = augment
        self.part = part
        self.steps_per_epoch = images.train_count // batch_size
        self.bad: list[str] = []  # names of the photographs that could not be decoded

    def stream(self, first_step: int, last_step: int):
        """Batches of images (batch, 224, 224, 3) uint8 and labels (batch,) int32; both steps begin an epoch."""
        import tensorflow as tf

        first, last = first_step // self.steps_per_epoch, last_step // self.steps_per_epoch
        count, own = self.steps_per_epoch * self.batch_size, self.batch_size // self.part[1]

        def epoch(number):
            view = functools.partial(_random_view, self.seed, number) if self.augment else _central_view
            examples = self._decoded("train", number, count, self.batch_size, view)
            examples = examples.repeat().take(self.steps_per_epoch * own)  # the first ones again for those left out
            return examples.map(lambda place, image, label: (image, label)).batch(own, drop_remainder=True)

        return tf.data.Dataset.range(first, last).flat_map(epoch).prefetch(tf.data.AUTOTUNE)

    def validation(self, batch_size: int):
        """The test images, each once, in full batches: images, labels, and weights of mean 1, 0 where a batch is
        filled up."""
        import tensorflow as tf

        count, own = self.images.test_count, batch_size // self.part[1]
        whole = -(-count // batch_size) * batch_size

        def weigh(place, image, label):
            return image, label, tf.where(place < count, whole / count, 0.0)

        examples = self._decoded("validation", ORDERED, whole, batch_size, _central_view)
        return examples.map(weigh).batch(own, drop_remainder=True).prefetch(tf.data.AUTOTUNE)

    def _records(self, split, epoch, count, batch_size):
        """This worker's photographs among the first `count`, not decoded, each behind its place among all."""
        import tensorflow as tf
        import tensorflow_datasets as tfds

        info, features = self.images.builder.info.splits[split], self.images.builder.info.features
        decoders = {"image": tfds.decode.SkipDecoding()}
        paths = tf.constant([str(path) for path in info.filepaths])
        if epoch is not ORDERED:
            paths = tf.random.experimental.stateless_shuffle(paths, seed=[self.seed, epoch])
        records = tf.data.Dataset.from_tensor_slices(paths).interleave(
            tf.data.TFRecordDataset, FILES_AT_ONCE, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        if epoch is not ORDERED:
            records = records.batch(SHUFFLED).enumerate().map(functools.partial(self._shuffled, epoch)).unbatch()
        index, own = self.part[0], batch_size // self.part[1]
        records = records.repeat().take(count).enumerate()
        records = records.filter(lambda place, record: place % batch_size // own == index)
        return records.map(
            lambda place, record: (place, features.deserialize_example(record, decoders=decoders)), tf.data.AUTOTUNE
        )

    def _shuffled(self, epoch, number, records):
        """Block `number` of the records of an epoch, in a random order."""
        import tensorflow as tf

        return tf.random.experimental.stateless_shuffle(records, seed=_key(self.seed, epoch, number))

    def _decoded(self, split, epoch, count, batch_size, view):
        """Places, images and labels of `_records`.

        TensorFlow does not say which photograph it could not decode. So such are left out, and missed by the numbers
        of those that come; a last one, behind all, is there for the end.
        """
        import tensorflow as tf

        own = tf.constant(count // self.part[1], tf.int64)

        def load(number, example):
            place, record = example
            return number, place, view(place, record["image"]), tf.cast(record["label"], tf.int32)

        def miss(due, example):
            number = example[0]
            note = functools.partial(self._note, split, count, batch_size)
            missed = [tf.constant(-1, tf.int64) if epoch is ORDERED else epoch, due, number]
            tf.cond(number == due, tf.no_op, lambda: tf.numpy_function(note, missed, []))
            return number + 1, example

        images = self._records(split, epoch, count, batch_size).enumerate().map(load, tf.data.AUTOTUNE).ignore_errors()
        end = own, tf.constant(0, tf.int64), tf.zeros(self.images.shape, tf.uint8), tf.constant(0)
        images = images.concatenate(tf.data.Dataset.from_tensors(end)).scan(tf.constant(0, tf.int64), miss)
        return images.filter(lambda number, *_: number < own).map(lambda number, *example: tuple(example))

    def _note(self, split, count, batch_size, epoch, due, number):
        """Names the photographs from number `due` to `number`, which were missed."""
        records = self._records(split, ORDERED if split == "validation" else int(epoch), count, batch_size)
        missed = records.skip(int(due)).take(int(number - due)).as_numpy_iterator()
        names = [record["file_name"].decode() for _, record in missed]
        if split == "validation" or self.images.on_bad_image == "error":
            self.bad = self.bad or names
            raise ValueError(names)
        self.bad += names
        for name in names:
            print(f"warning: {name}: expected a JPEG photograph, found none; it is left out", file=sys.stderr)


def _random_view(seed, epoch, place, jpeg):
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


def _central_view(place, jpeg):
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
