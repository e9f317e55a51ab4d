"""Photographs a second on one core, from files to batches, against bare decoding and against Pillow.

    python -m benchmarks.photographs [--data_dir DIR] [--out FILE]

The photographs are the training ones of the prepared imagenet2012 in `data_dir`, or the two that scikit-learn brings;
an epoch has copies of them. Contenders, in turns: the batches of train_imagenet.py, from TFRecords and from a folder;
TensorFlow's decoding of these parts alone, from memory; this with resizing; and Pillow's decoding, cropping and
resizing, from memory. Then the memory of the process after each of 20 epochs of either, and what starting with a folder
of as many files as ILSVRC2012 takes.
"""

import argparse
import io
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
import types

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before TensorFlow counts the cores

from training.devices.backend import import_keras, onednn  # noqa: E402
from training.devices.memory import one_arena_a_core  # noqa: E402

one_arena_a_core()
import_keras()

import numpy as np  # noqa: E402
import sklearn.datasets  # noqa: E402
import tensorflow as tf  # noqa: E402
import tensorflow_datasets as tfds  # noqa: E402
from PIL import Image  # noqa: E402

from benchmarks import machine  # noqa: E402
from benchmarks.measure import in_turns, ratio, setting, spread  # noqa: E402
from training.config import DataConfig  # noqa: E402
from training.data import crops  # noqa: E402
from training.data.imagefolder import ImageFolder  # noqa: E402
from training.data.photographs import PhotoSet  # noqa: E402
from training.data.prepared import TRAIN, Prepared  # noqa: E402
from training.data.tfrecords import TFRecords  # noqa: E402

BATCH, SIZE = 64, 224
ROUNDS, LEAST, EPOCHS = setting((9, 640, 20), (1, 64, 2))


def photographs(data_dir):
    """What they are called, and their names and contents."""
    if data_dir:
        decoders = {"image": tfds.decode.SkipDecoding()}
        train = tfds.builder("imagenet2012", data_dir=data_dir).as_dataset(split="train", decoders=decoders)
        found = {each["file_name"].decode(): each["image"] for each in train.take(LEAST).as_numpy_iterator()}
        return f"{len(found)} photographs, imagenet2012", found
    files = sorted((pathlib.Path(sklearn.datasets.__file__).parent / "images").glob("*.jpg"))
    return f"{len(files)} photographs, scikit-learn's", {file.name: file.read_bytes() for file in files}


def tfrecords(jpegs, times, folder):
    """A data set of `times` files, in each of which are all photographs."""
    features, shards = tfds.builder("imagenet2012", data_dir=folder).info.features, []
    for i in range(times):
        path = str(folder / f"{i}.tfrecord")
        with tf.io.TFRecordWriter(path) as writer:
            for name, jpeg in jpegs.items():
                example = features.encode_example({"image": io.BytesIO(jpeg), "label": 0, "file_name": name})
                writer.write(features.serialize_example(example))
        shards.append(types.SimpleNamespace(filename=path, skip=0, take=len(jpegs), examples_in_shard=len(jpegs)))
    split = types.SimpleNamespace(file_instructions=shards, num_examples=times * len(jpegs))
    info = types.SimpleNamespace(features=features, supervised_keys=("image", "label"), splits={TRAIN: split})
    return TFRecords(Prepared(types.SimpleNamespace(info=info), {TRAIN: TRAIN}))


def image_folder(jpegs, times, folder):
    """A data set of `times` files for each photograph."""
    paths = [f"{i}-{name}" for i in range(times) for name in jpegs]
    for path in paths:
        (folder / path).write_bytes(jpegs[path.partition("-")[2]])
    return ImageFolder(folder, ("photographs",), paths, np.zeros(len(paths), np.int32), len(paths))


def parts_of(images, count):
    """JPEGs of an epoch and what the random view takes of each: (JPEG, begin, size)."""
    crop, found = images.augmentation(DataConfig()), []
    for place, element in images.source.elements(TRAIN, [0, 0]).take(count).enumerate():
        jpeg, _ = images.source.example(*element)
        window = crop.window(0, 0, place, tf.io.extract_jpeg_shape(jpeg))
        found.append((jpeg.numpy(), *(part.numpy() for part in window)))
    return found


def in_tensorflow(parts, resize):
    """A way to decode, and perhaps to resize, what is in memory."""
    jpegs, begins, sizes = zip(*parts, strict=True)

    def decode(jpeg, begin, size):
        window = tf.concat([begin, size], axis=0)
        image = tf.io.decode_and_crop_jpeg(jpeg, window, channels=3, dct_method=crops.DCT)
        return tf.image.resize(image, (SIZE, SIZE)) if resize else image

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
        image.resize((SIZE, SIZE), Image.Resampling.BILINEAR)


def rate(go, count):
    """A function that goes a way and gives the photographs a second."""

    def measure():
        begun = time.perf_counter()
        go()
        return count / (time.perf_counter() - begun)

    return measure


def memory(batches):
    """The most MiB of this process so far, after each of some epochs."""
    peaks = []
    for step, _ in enumerate(batches.stream(0, EPOCHS * batches.steps_per_epoch), 1):
        if step % batches.steps_per_epoch == 0:
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return peaks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", help="folder of the prepared imagenet2012")
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    # First, for a process takes its parent's peak along.
    start = [sys.executable, "-m", "benchmarks.photographs.folder_start"]
    started = json.loads(subprocess.run(start, capture_output=True, text=True, check=True).stdout)
    name, jpegs = photographs(arguments.data_dir)
    times = -(-LEAST // len(jpegs))
    with tempfile.TemporaryDirectory() as folder:
        made = {"pipeline": tfrecords, "folder": image_folder}
        images = {way: PhotoSet(way, make(jpegs, times, pathlib.Path(folder)), SIZE) for way, make in made.items()}
        batches = {way: each.batches(BATCH, 0, DataConfig()) for way, each in images.items()}
        steps = batches["pipeline"].steps_per_epoch
        parts = parts_of(images["pipeline"], steps * BATCH)
        ways = {way: through(each.stream(0, steps)) for way, each in batches.items()} | {
            "decoding": in_tensorflow(parts, resize=False),
            "decoding and resizing": in_tensorflow(parts, resize=True),
            "Pillow": lambda: pillow(parts),
        }
        rates = in_turns({way: rate(go, len(parts)) for way, go in ways.items()}, ROUNDS)
        peaks = {way: memory(each) for way, each in batches.items()}
    print(name)
    for way, values in rates.items():
        print(f"{way:22} {spread(values, 1)}, ours is {ratio(rates['pipeline'], values):.2f}x")
    for way, peak in peaks.items():
        print(f"{way}: peak MiB after each of {EPOCHS} epochs:", ", ".join(f"{each:.0f}" for each in peak))
    print("start with {files:,} files: {seconds:.1f} s, peak {peak_mib:.0f} MiB".format(**started))
    if arguments.out:
        record = {
            "machine": machine.describe() | {"onednn": onednn()},
            "data": name,
            "photographs_per_second": rates,
            "peak_mib": peaks,
            "folder_start": started,
        }
        arguments.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
