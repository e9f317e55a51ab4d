"""Photographs in the files of a data set that TensorFlow Datasets prepared, as ILSVRC2012 is (4.3)."""

import dataclasses
import functools
import hashlib

from training.data import pixels
from training.data.prepared import TEST, TRAIN, Prepared
from training.errors import UserError, reason

FILES_AT_ONCE = 16
LOOKED_AT = 100
SHUFFLED = 2048  # photographs among which the next one is drawn, of so many files: 200 MB


@dataclasses.dataclass(frozen=True)
class TFRecords:
    """Where a `PhotoSet` has its photographs from; an element is a serialized example, behind its file and place."""

    prepared: Prepared

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.prepared.class_names

    def count(self, part: str) -> int:
        return self.prepared.count(part)

    @functools.cached_property
    def sha256(self) -> str:
        """Of the files' names, sizes and numbers of examples: reading them whole would take longer than an epoch."""
        digest = hashlib.sha256()
        for part in (TRAIN, TEST):
            info = self.prepared.info(part)
            for path, file in zip(info.filepaths, info.file_instructions, strict=True):
                cut = "" if file.take == file.examples_in_shard else f" {file.skip} {file.take}"
                digest.update(f"{path.name} {path.stat().length} {file.examples_in_shard}{cut}\n".encode())
        return digest.hexdigest()

    def check(self) -> None:
        """Sees to it that the files are there, as long as they were written, and hold images.

        Raises:
            UserError: they are not; or none of the first ones of a split is an image.
        """
        import tensorflow as tf

        builder = self.prepared.builder
        for name, info in builder.info.splits.items():
            used = {file.filename for part in (TRAIN, TEST) for file in self.prepared.info(part).file_instructions}
            if not used & {str(path) for path in info.filepaths}:
                continue
            for path in info.filepaths:
                if not path.exists():
                    raise UserError(f"{path}: expected a file of {builder.name}, found none")
            found = sum(path.stat().length for path in info.filepaths)
            if found < info.num_bytes:
                raise UserError(
                    f"{builder.data_dir}: expected {int(info.num_bytes):,} bytes of {name}, found {found:,}"
                )

        for part in (TRAIN, TEST):
            try:
                images = (self.example(*element)[0].numpy() for element in self.elements(part).take(LOOKED_AT))
                if not any(map(pixels.is_one, images)):
                    where = self.prepared.info(part).filepaths[0]
                    raise UserError(f"{where}: expected photographs, found none among the first {LOOKED_AT}")
            except tf.errors.OpError as error:
                raise UserError(self.unreadable() or reason(error)) from error

    def unreadable(self) -> str | None:
        """Names the first file that does not hold its records whole: every file is read."""
        import tensorflow as tf

        for part in (TRAIN, TEST):
            for file in self.prepared.info(part).file_instructions:
                try:
                    records = tf.data.TFRecordDataset(file.filename)
                    found = records.reduce(0, lambda number, record: number + 1).numpy()
                except tf.errors.OpError as error:
                    found = reason(error)
                if found != file.examples_in_shard:
                    return f"{file.filename}: expected {file.examples_in_shard} whole records, found {found}"
        return None

    def elements(self, part: str, order=None):
        """The photographs of a part as `tf.data`, in the order of the files.

        Args:
            part: `TRAIN` or `TEST`.
            order: (seed, epoch): the order of the files is a function of it, that of their photographs one of (seed,
                epoch, block).
        """
        import tensorflow as tf

        files = self.prepared.files(part)
        columns = [tf.constant(column) for column in zip(*files, strict=True)]
        if order:
            shuffled = tf.random.experimental.stateless_shuffle(tf.range(len(files)), seed=order)
            columns = [tf.gather(column, shuffled) for column in columns]

        def records(path, skip, take):
            numbered = tf.data.TFRecordDataset(path).enumerate().skip(tf.cast(skip, tf.int64))
            return numbered.take(tf.cast(take, tf.int64)).map(lambda place, record: (path, place, record))

        elements = tf.data.Dataset.from_tensor_slices(tuple(columns)).interleave(
            records, FILES_AT_ONCE, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        elements = elements.apply(tf.data.experimental.assert_cardinality(self.count(part)))
        if order:
            tf.compat.v1.set_random_seed(1)  # of this graph: the order shall not depend on the global seed
            seed = tf.random.stateless_uniform([], order, None, None, tf.int64)
            elements = elements.shuffle(SHUFFLED, seed, reshuffle_each_iteration=False)
        return elements

    def example(self, path, place, record):
        """The image, as it is stored, and the label of an element."""
        return self.prepared.parse(record)

    def name(self, path, place, record) -> str:
        """What a user would call an element: the name that the data set gives it, else its place in its file."""
        features = self.prepared.builder.info.features
        if "file_name" not in features:
            return f"{path.numpy().decode()}, record {place.numpy()}"
        return (
            features.deserialize_example(record, decoders=self.prepared.undecoded.decoders)["file_name"]
            .numpy()
            .decode()
        )
