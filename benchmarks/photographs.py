"""Photographs a second on one core, from prepared files to batches, against bare decoding and against Pillow.

    python benchmarks/photographs.py --data_dir DIR

Contenders, in turns, on the same random parts of the same photographs: the batches of train_imagenet.py; TensorFlow's
decoding of these parts alone, from memory, which no pipeline can beat; and Pillow's decoding, cropping and resizing.
Then the memory of the process after each of 20 epochs.
"""

import argparse
import io
import json
import os
import pathlib
import resource
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from training.quiet import import_keras

import_keras()

import tensorflow as tf  # noqa: E402
from PIL import Image  # noqa: E402

from benchmarks import machine  # noqa: E402
from training import data, imagenet  # noqa: E402
from training.config import DataConfig  # noqa: E402

ROUNDS, EPOCHS, BATCH = 7, 4, 16


def windows(batches, epochs):
    """JPEGs and what the random view takes of each, (begin, size), as the batches of `epochs` do."""
    found = []
    for epoch in epochs:
        records = batches._records("train", epoch, batches.steps_per_epoch * BATCH, BATCH)
        for place, record in records.as_numpy_iterator():
            begin, size = imagenet.random_window(batches.seed, epoch, place, record["image"])
            found.append((record["image"], begin.numpy(), size.numpy()))
    return found


def ours(batches):
    for _ in batches.stream(0, EPOCHS * batches.steps_per_epoch):
        pass


def bare(parts):
    jpegs, begins, sizes = zip(*parts, strict=True)
    dataset = tf.data.Dataset.from_tensor_slices((list(jpegs), list(begins), list(sizes)))

    def decode(jpeg, begin, size):
        window = tf.concat([begin, size], axis=0)
        image = tf.io.decode_and_crop_jpeg(jpeg, window, channels=3, dct_method=imagenet.DCT)
        return tf.shape(image)

    for _ in dataset.map(decode, tf.data.AUTOTUNE):
        pass


def pillow(parts):
    for jpeg, (top, left), (height, width) in parts:
        image = Image.open(io.BytesIO(jpeg)).convert("RGB").crop((left, top, left + width, top + height))
        image.resize((imagenet.SIZE, imagenet.SIZE), Image.Resampling.BILINEAR)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", required=True, help="folder of the prepared imagenet2012")
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    images = data.load(DataConfig("imagenet2012", arguments.data_dir))
    batches = images.batches(BATCH, seed=0, augment=True)
    parts = windows(batches, range(EPOCHS))
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    ways = {"ours": lambda: ours(batches), "bare": lambda: bare(parts), "Pillow": lambda: pillow(parts)}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            rates[name].append(len(parts) / (time.perf_counter() - begun))
    for name, values in rates.items():
        ratio = statistics.median(a / b for a, b in zip(rates["ours"], values, strict=True))
        print(f"{name:8} {statistics.median(values):7.1f} ({min(values):.1f}, {max(values):.1f}), ours is {ratio:.2f}x")
    memory = []
    for epoch in range(20):
        for _ in batches.stream(epoch * batches.steps_per_epoch, (epoch + 1) * batches.steps_per_epoch):
            pass
        memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print("MiB after each of 20 epochs:", ", ".join(f"{each:.0f}" for each in memory))
    if arguments.out:
        record = {"machine": machine.describe(), "photographs_per_second": rates, "peak_mib": memory}
        arguments.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
