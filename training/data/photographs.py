"""ILSVRC2012 as TensorFlow Datasets prepares it (4.3): of each photograph only what is used is decoded."""

import dataclasses
import functools
import hashlib
import os
import sys
from typing import Any

from training.data.crops import SIZE, central_view, random_view
from training.data.prepared import skip_decoding
from training.errors import UserError, reason

COUNTS = (1_281_167, 50_000)  # photographs to train and to test
ORDERED = None  # instead of an epoch: the order of the files
FILES_AT_ONCE = 16
LOOKED_AT = 100
AT_A_TIME = 16  # photographs that one thread decodes
PREFETCHED = 2  # batches
SHUFFLED = 2048  # photographs among which the next one is drawn, of so many files: 200 MB


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
    mean = None  # the network subtracts it
    shape = (SIZE, SIZE, 3)

    @property
    def num_classes(self) -> int:
        return self.builder.info.features["label"].num_classes

    @property
    def genuine(self) -> bool:
        """Whether they are as many as ILSVRC2012 has."""
        return (self.train_count, self.test_count) == COUNTS

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

    def check(self) -> None:
        """Sees to it that the files are there, as long as they were written, and hold photographs.

        Raises:
            UserError: they are not; or none of the first ones of a split is a JPEG.
        """
        import tensorflow as tf

        for split in ("train", "validation"):
            info = self.builder.info.splits[split]
            for path in info.filepaths:
                if not path.exists():
                    raise UserError(f"{path}: expected a file of {self.name}, found none")
            found = sum(path.stat().length for path in info.filepaths)
            if found < info.num_bytes:
                raise UserError(
                    f"{self.builder.data_dir}: expected {int(info.num_bytes):,} bytes of {split}, found {found:,}"
                )
            examples = self.builder.as_dataset(split=split, decoders=skip_decoding()).take(LOOKED_AT)
            try:
                if not any(_is_jpeg(example["image"]) for example in examples):
                    where = info.filepaths[0]
                    raise UserError(f"{where}: expected JPEG photographs, found none among the first {LOOKED_AT}")
            except tf.errors.OpError as error:
                raise UserError(self.unreadable() or reason(error)) from error

    def unreadable(self) -> str | None:
        """Names the first file that does not hold its records whole: every file is read."""
        import tensorflow as tf

        for info in (self.builder.info.splits[split] for split in ("train", "validation")):
            for path, count in zip(info.filepaths, info.shard_lengths, strict=True):
                try:
                    found = tf.data.TFRecordDataset(str(path)).reduce(0, lambda number, record: number + 1).numpy()
                except tf.errors.OpError as error:
                    found = reason(error)
                if found != count:
                    return f"{path}: expected {count} whole records, found {found}"
        return None

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
        self.bad: list[str] = []  # names of the photographs that were left out
        self.broken: str | None = None  # name of the photograph that ended a stream

    def stream(self, first_step: int, last_step: int):
        """Batches of images (batch, 224, 224, 3) uint8 and labels (batch,) int32; both steps begin an epoch."""
        import tensorflow as tf

        def epoch(number):
            view = functools.partial(random_view, self.seed, number) if self.augment else central_view
            return self._views("train", number, self.steps_per_epoch, self.batch_size, view)

        epochs = tf.data.Dataset.range(first_step // self.steps_per_epoch, last_step // self.steps_per_epoch)
        return _fast(epochs.flat_map(epoch).map(lambda places, images, labels: (images, labels)))

    def validation(self, batch_size: int):
        """The test images, each once, in full batches: images, labels, and weights of mean 1, 0 where a batch is
        filled up."""
        import tensorflow as tf

        count = self.images.test_count
        steps = -(-count // batch_size)

        def weigh(places, images, labels):
            return images, labels, tf.where(places < count, steps * batch_size / count, 0.0)

        return _fast(self._views("validation", ORDERED, steps, batch_size, central_view).map(weigh))

    def fault(self, error: Exception) -> str | None:
        """The line that says which photograph or file made a stream end with `error`, if one did."""
        import tensorflow as tf

        if self.broken:
            return (
                f"{self.broken}: expected a JPEG photograph, found none; `--data.on_bad_image skip` leaves out such "
                "among those to train with"
            )
        of_files = (tf.errors.DataLossError, tf.errors.FailedPreconditionError, tf.errors.NotFoundError)
        return self.images.unreadable() if isinstance(error, of_files) else None

    def _records(self, split, epoch, count, batch_size):
        """This worker's photographs among the first `count`, serialized, each behind its place among all."""
        import tensorflow as tf

        info = self.images.builder.info.splits[split]
        paths = tf.constant([str(path) for path in info.filepaths])
        if epoch is not ORDERED:
            paths = tf.random.experimental.stateless_shuffle(paths, seed=[self.seed, epoch])
        records = tf.data.Dataset.from_tensor_slices(paths).interleave(
            tf.data.TFRecordDataset, FILES_AT_ONCE, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        records = records.apply(tf.data.experimental.assert_cardinality(info.num_examples))
        if epoch is not ORDERED:
            tf.compat.v1.set_random_seed(1)  # of this graph: the order shall not depend on the global seed
            seed = tf.random.stateless_uniform([], [self.seed, epoch], None, None, tf.int64)
            records = records.shuffle(SHUFFLED, seed, reshuffle_each_iteration=False)
        records = records.repeat().take(count).enumerate()
        index, workers = self.part
        if workers == 1:
            return records
        return records.filter(lambda place, record: place % batch_size // (batch_size // workers) == index)

    def _example(self, record):
        """Features of a serialized photograph, the image as JPEG."""
        return self.images.builder.info.features.deserialize_example(record, decoders=skip_decoding())

    def _views(self, split, epoch, steps, batch_size, view):
        """This worker's parts of `steps` batches: places, images and labels.

        TensorFlow does not say which photograph it could not decode. So such are left out, the first ones come again
        for them, and they are missed by the places of those that come. Errors of decoding alone are ignored: those of
        reading the records are not in the data sets that a thread decodes.
        """
        import tensorflow as tf

        own = batch_size // self.part[1]

        def load(place, record):
            example = self._example(record)
            return place, view(place, example["image"]), tf.cast(example["label"], tf.int32)

        def miss(due, batch):
            numbers = batch[0] // batch_size * own + batch[0] % own  # among this worker's photographs of the epoch
            dues = tf.concat([[due], numbers[:-1] + 1], axis=0)
            gaps = (numbers - dues) % (steps * own)
            note = functools.partial(self._note, split, steps * batch_size, batch_size)
            missed = [tf.constant(-1, tf.int64) if epoch is ORDERED else epoch, dues, gaps]
            tf.cond(tf.reduce_any(gaps > 0), lambda: tf.numpy_function(note, missed, []), tf.no_op)
            return numbers[-1] + 1, batch

        def decode(places, records):
            return tf.data.Dataset.from_tensor_slices((places, records)).map(load).ignore_errors()

        threads = os.cpu_count()
        records = self._records(split, epoch, steps * batch_size, batch_size).batch(AT_A_TIME)
        views = records.interleave(decode, threads, AT_A_TIME, num_parallel_calls=threads, deterministic=True)
        views = views.repeat().batch(own, drop_remainder=True)
        batches = views.take(steps).scan(tf.constant(0, tf.int64), miss)
        return batches.apply(tf.data.experimental.assert_cardinality(steps))

    def _note(self, split, count, batch_size, epoch, dues, gaps):
        """Names the photographs that were missed: `gaps` of them from number `dues` on."""
        import tensorflow as tf

        def read(epoch):
            return self._records(split, ORDERED if split == "validation" else epoch, count, batch_size)

        records = tf.data.Dataset.from_tensors(epoch).flat_map(read)
        names = []
        for due, gap in zip(dues[gaps > 0], gaps[gaps > 0], strict=True):
            missed = records.repeat().skip(due % (count // self.part[1])).take(gap)
            names += [self._example(record)["file_name"].numpy().decode() for _, record in missed]
        if split == "validation" or self.images.on_bad_image == "error":
            self.broken = self.broken or names[0]
            raise ValueError(names)
        self.bad += names
        for name in names:
            print(f"warning: {name}: expected a JPEG photograph, found none; it is left out", file=sys.stderr)


def _is_jpeg(content):
    import tensorflow as tf

    try:
        tf.io.extract_jpeg_shape(content)
    except tf.errors.InvalidArgumentError:
        return False
    return True


def _fast(dataset):
    """TensorFlow's own search for the best parallelism has a core wait for up to 1 ms a photograph."""
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.prefetch(PREFETCHED).with_options(options)
