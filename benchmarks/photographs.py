"""Photographs a second on one core, from prepared files to batches, against bare decoding and against Pillow.

    python -m benchmarks.photographs [--data_dir DIR] [--out FILE]

The photographs are the training ones of the prepared imagenet2012 in `data_dir`, or the two that scikit-learn brings;
an epoch has them many times. Contenders, in turns, on the same random parts of the same photographs: the batches of
train_imagenet.py, from files; TensorFlow's decoding of these parts alone, from memory; this with resizing; and Pillow's
decoding, cropping and resizing, from memory. Then the memory of the process after each of 20 epochs.
"""

import argparse
import io
import json
import os
import pathlib
import resource
import tempfile
import time
import types

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before TensorFlow counts the cores

from training.devices.backend import import_keras, onednn  # noqa: E402
from training.devices.memory import one_arena_a_core  # noqa: E402

one_arena_a_core()
import_keras()

import sklearn.datasets  # noqa: E402
import tensorflow as tf  # noqa: E402
import tensorflow_datasets as tfds  # noqa: E402
from PIL import Image  # noqa: E402

from benchmarks import machine  # noqa: E402
from benchmarks.measure import in_turns, ratio, setting, spread  # noqa: E402
from training.data import crops  # noqa: E402
from training.data.photographs import PhotoSet  # noqa: E402

BATCH = 64
ROUNDS, LEAST, EPOCHS = setting((9, 640, 20), (1, 64, 2))


def photographs(data_dir, folder):
    """What the photographs are, and a data set whose epoch has `LEAST` or more."""
    builder = tfds.builder("imagenet2012", data_dir=data_dir)
    if data_dir:
        split = builder.info.splits["train"]
        name, paths, count = "imagenet2012", split.filepaths, split.num_examples
    else:
        name, paths = "scikit-learn's", [folder / "photographs.tfrecord"]
        files = sorted((pathlib.Path(sklearn.datasets.__file__).parent / "images").glob("*.jpg"))
        count = len(files)
        with tf.io.TFRecordWriter(str(paths[0])) as writer:
            for file in files:
                example = {"image": io.BytesIO(file.read_bytes()), "label": 0, "file_name": file.name}
                writer.write(builder.info.features.serialize_example(builder.info.features.encode_example(example)))
    times = -(-LEAST // count)
    train = types.SimpleNamespace(filepaths=paths * times, num_examples=count * times)
    info = types.SimpleNamespace(features=builder.info.features, splits={"train": train})
    return f"{count} photographs, {name}", PhotoSet(types.SimpleNamespace(info=info))


def parts_of(batches):
    """JPEGs of an epoch and what the random view takes of each: (JPEG, begin, size)."""
    epochs, found = tf.data.Dataset.range(1), []
    for place, record in epochs.flat_map(
        lambda n: batches._records("train", n, batches.steps_per_epoch * BATCH, BATCH)
    ):
        jpeg = batches._example(record)["image"]
        found.append((jpeg.numpy(), *(part.numpy() for part in crops.random_window(0, 0, place, jpeg))))
    return found


def in_tensorflow(parts, resize):
    """A way to decode, and perhaps to resize, what is in memory."""
    jpegs, begins, sizes = zip(*parts, strict=True)

    def decode(jpeg, begin, size):
        window = tf.concat([begin, size], axis=0)
        image = tf.io.decode_and_crop_jpeg(jpeg, window, channels=3, dct_method=crops.DCT)
        return tf.image.resize(image, (crops.SIZE, crops.SIZE)) if resize else image

    dataset = tf.data.Dataset.from_tensor_slices((list(jpegs), list(begins), list(sizes)))
    options = tf.data.Options()
    options.autotune.enabled = False  # faster, see training/data/photographs.py
    return through(dataset.map(decode).with_options(options))


def through(dataset):
    """A way through all of a dataset."""
    return lambda: dataset.reduce(0, lambda count, *_: count + 1).numpy()


def pillow(parts):
    for jpeg, (top, left), (height, width) in parts:
        image = Image.open(io.BytesIO(jpeg)).convert("RGB").crop((left, top, left + width, top + height))
        image.resize((crops.SIZE, crops.SIZE), Image.Resampling.BILINEAR)


def rate(go, count):
    """A function that goes a way and gives the photographs a second."""

    def measure():
        begun = time.perf_counter()
        go()
        return count / (time.perf_counter() - begun)

    return measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", help="folder of the prepared imagenet2012")
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        name, images = photographs(arguments.data_dir, pathlib.Path(folder))
        batches = images.batches(BATCH, seed=0, augment=True)
        parts, steps = parts_of(batches), batches.steps_per_epoch
        ways = {
            "pipeline": through(batches.stream(0, steps)),
            "decoding": in_tensorflow(parts, resize=False),
            "decoding and resizing": in_tensorflow(parts, resize=True),
            "Pillow": lambda: pillow(parts),
        }
        rates = in_turns({way: rate(go, len(parts)) for way, go in ways.items()}, ROUNDS)
        memory = []
        for step, _ in enumerate(batches.stream(0, EPOCHS * steps), 1):
            if step % steps == 0:
                memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(name)
    for way, values in rates.items():
        print(f"{way:22} {spread(values, 1)}, ours is {ratio(rates['pipeline'], values):.2f}x")
    print(f"peak MiB after each of {EPOCHS} epochs:", ", ".join(f"{each:.0f}" for each in memory))
    if arguments.out:
        record = {
            "machine": machine.describe() | {"onednn": onednn()},
            "data": name,
            "photographs_per_second": rates,
            "peak_mib": memory,
        }
        arguments.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
