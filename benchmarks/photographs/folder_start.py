"""Seconds and memory until a run reads the first file of a folder of as many photographs as ILSVRC2012.

    python -m benchmarks.photographs.folder_start

The files are empty, in 1,000 folders to train and as many to test, and are made before the time begins. Of the memory,
TensorFlow has most.
"""

import json
import pathlib
import resource
import tempfile
import time

from benchmarks.measure import setting
from training.devices.backend import import_keras

import_keras()

from training.config import DataConfig  # noqa: E402
from training.data import folders  # noqa: E402
from training.data.photographs import COUNTS, PhotoSet  # noqa: E402
from training.data.prepared import TRAIN  # noqa: E402

CLASSES = 1000
PARTS = dict(zip(("train", "val"), setting(COUNTS, (2000, 1000)), strict=True))


def main() -> None:
    with tempfile.TemporaryDirectory() as root:
        for part, count in PARTS.items():
            for label in range(CLASSES):
                folder = pathlib.Path(root, part, f"n{label:08}")
                folder.mkdir(parents=True)
                for i in range(label, count, CLASSES):
                    (folder / f"{folder.name}_{i}.JPEG").touch()
        begun = time.perf_counter()
        images = folders.load("empty", pathlib.Path(root), DataConfig())
        assert isinstance(images, PhotoSet)
        digest = images.sha256
        content, _ = images.source.example(*next(iter(images.source.elements(TRAIN, [0, 0]))))
        seconds = time.perf_counter() - begun
    assert digest and not content.numpy()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"files": images.train_count + images.test_count, "seconds": seconds, "peak_mib": peak}))


if __name__ == "__main__":
    main()
