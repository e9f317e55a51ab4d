"""Photographs: what is cropped, in which order, in which part of a batch; and what cannot be decoded."""

import dataclasses
import io
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from photographs import jpeg
from PIL import Image

import train_imagenet
from training.config import DataConfig
from training.data import photographs as module
from training.data import sources
from training.errors import UserError

# Width, height and mode: common, tiny, very wide, very high, gray, and of a printer's colours.
KINDS = [(100, 80, "RGB"), (9, 7, "RGB"), (300, 12, "RGB"), (12, 300, "RGB"), (60, 60, "L"), (50, 70, "CMYK")]


def listed(dataset):
    return [tuple(np.asarray(part) for part in batch) for batch in dataset.as_numpy_iterator()]


def test_every_kind_of_photograph_becomes_224_pixels_square(prepare):
    photographs = [jpeg(*kind) for kind in KINDS]
    batches = prepare(photographs, photographs).batches(6, 0, DataConfig())
    (images, labels), (validation, truth, weights) = listed(batches.stream(0, 1))[0], listed(batches.validation(6))[0]
    for given_images, given_labels in ((images, labels), (validation, truth)):
        assert given_images.shape == (6, 224, 224, 3)
        assert given_images.dtype == np.uint8
        assert sorted(given_labels) == list(range(6))
    np.testing.assert_array_equal(weights, 1)
    of_kind = dict(zip(truth, validation.astype(int), strict=True))
    assert np.ptp(of_kind[4], axis=-1).max() == 0
    np.testing.assert_allclose(of_kind[5][..., 0].mean(axis=0), of_kind[0][..., 0].mean(axis=0), atol=40)


@pytest.mark.parametrize(("width", "height"), [(500, 375), (320, 480), (75, 56), (1000, 256)])
def test_the_central_view_is_the_centre_of_the_photograph_of_shorter_side_256(prepare, width, height):
    image = listed(prepare([jpeg(8, 8)] * 2, [jpeg(width, height)]).batches(2, 0, DataConfig()).validation(1))[0][0][0]
    scale = 256 / min(width, height)
    reference = Image.open(io.BytesIO(jpeg(width, height))).resize(
        (round(width * scale), round(height * scale)), Image.Resampling.BILINEAR
    )
    left, top = (reference.width - 224) // 2, (reference.height - 224) // 2
    expected = np.asarray(reference.crop((left, top, left + 224, top + 224)), int)
    assert np.abs(image - expected).mean() < 1.5
    assert np.abs(image - expected).max() < 8


def test_random_views_have_the_area_and_the_aspect_of_the_paper_and_half_are_flipped(prepare):
    batches = prepare([jpeg(300, 300)] * 400, [jpeg(8, 8)]).batches(400, 0, DataConfig())
    red, green = (listed(batches.stream(0, 1))[0][0][..., channel].astype(float) for channel in (0, 1))
    columns, rows = red.mean(axis=1), green.mean(axis=2)  # (view, 224): the place in the photograph, 0 to 255
    widths, heights = (np.abs(line[:, -1] - line[:, 0]) / 255 for line in (columns, rows))
    areas, aspects = widths * heights, widths / heights
    assert 0.06 < areas.min() < 0.12
    assert 0.85 < areas.max() < 1.02
    assert 0.72 < aspects.min() < 0.8
    assert 1.25 < aspects.max() < 1.4
    flipped = (columns[:, 0] > columns[:, -1]).mean()
    assert abs(flipped - 0.5) < 0.125  # 5 standard deviations
    assert (rows[:, 0] < rows[:, -1]).all()


def test_batches_are_a_function_of_seed_and_epoch_and_epochs_can_be_entered(prepare):
    images = prepare([jpeg(40 + i, 40) for i in range(10)], [jpeg(8, 8)])
    batches = images.batches(4, 3, DataConfig())
    assert batches.steps_per_epoch == 2
    whole, again = listed(batches.stream(0, 6)), listed(batches.stream(0, 6))
    keras.utils.set_random_seed(5)
    later = listed(batches.stream(2, 6))
    for a, b in zip(whole + whole[2:], again + later, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)
    orders = [tuple(np.concatenate([labels for _, labels in whole[i : i + 2]])) for i in (0, 2, 4)]
    assert len(set(orders)) == 3
    for order in orders:
        assert len(set(order)) == 8
    other = listed(images.batches(4, 4, DataConfig()).stream(0, 6))
    assert any((a[1] != b[1]).any() for a, b in zip(whole, other, strict=True))


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_have_parts_of_one_batch(prepare, workers):
    images = prepare([jpeg(40 + i, 40) for i in range(9)], [jpeg(8, 8)])
    (whole,) = listed(images.batches(8, 0, DataConfig()).stream(0, 1))
    parts = [listed(images.batches(8, 0, DataConfig(), (i, workers)).stream(0, 1))[0] for i in range(workers)]
    for one, several in zip(whole, zip(*parts, strict=True), strict=True):
        np.testing.assert_array_equal(one, np.concatenate(several))


@pytest.mark.parametrize(("count", "batch", "workers"), [(40, 16, 1), (40, 16, 2), (7, 4, 4), (3, 8, 2), (8, 8, 1)])
def test_each_test_image_counts_once_at_any_batch_size(prepare, count, batch, workers):
    images = prepare([jpeg(8, 8)], [jpeg(8, 8)] * count)
    found = [listed(images.batches(1, 0, DataConfig(), (i, workers)).validation(batch)) for i in range(workers)]
    assert {len(of_worker) for of_worker in found} == {-(-count // batch)}
    assert {len(part[1]) for of_worker in found for part in of_worker} == {batch // workers}
    labels, weights = (np.concatenate([part[i] for of_worker in found for part in of_worker]) for i in (1, 2))
    assert sorted(labels[weights > 0]) == list(range(count))
    assert weights.mean() == pytest.approx(1)
    assert len(set(weights[weights > 0])) == 1


def broken(photograph):
    return photograph[: len(photograph) // 3]


@pytest.mark.parametrize(("workers", "at_a_time"), [(1, 16), (1, 2), (2, 2)])
@pytest.mark.parametrize("which", [[5], [0, 1, 7], [2, 3, 4, 5]])
def test_broken_photographs_are_named_or_counted_and_left_out(prepare, capsys, monkeypatch, which, workers, at_a_time):
    monkeypatch.setattr(module, "AT_A_TIME", at_a_time)
    photographs = [jpeg(40 + i, 40) for i in range(8)]
    for i in which:
        photographs[i] = broken(photographs[i])
    names = {f"n{i:08d}_{i}.JPEG" for i in which}
    images = prepare(photographs, [jpeg(8, 8)])
    skipping = dataclasses.replace(images, on_bad_image="skip")
    named, skipped = [], []
    for worker in range(workers):
        batches = images.batches(4, 0, DataConfig(), (worker, workers))
        try:
            listed(batches.stream(0, 2))
        except tf.errors.OpError as error:
            named += [name for name in names if name in batches.fault(error)]
        batches = skipping.batches(4, 0, DataConfig(), (worker, workers))
        found = listed(batches.stream(0, 4))
        assert [len(labels) for _, labels in found] == [4 // workers] * 4
        assert not set(np.concatenate([labels for _, labels in found])) & set(which)
        skipped += batches.bad
    assert named
    assert set(skipped) == names
    said = capsys.readouterr().err
    assert all(f"warning: {name}: expected a photograph" in said for name in names)


def test_a_worker_that_has_no_photograph_left_does_not_end_as_if_it_had(prepare):
    photographs = [jpeg(8, 8), *[broken(jpeg(40, 40))] * 7]
    images = prepare(photographs, [jpeg(8, 8)], "skip")
    with pytest.raises(tf.errors.OpError):  # one of the two
        for worker in range(2):
            listed(images.batches(4, 0, DataConfig(), (worker, 2)).stream(0, 2))


@pytest.mark.parametrize("which", [0, 5, 7])
def test_a_broken_test_photograph_is_named_even_where_broken_ones_are_skipped(prepare, which):
    photographs = [jpeg(40 + i, 40) for i in range(8)]
    photographs[which] = broken(photographs[which])
    batches = prepare([jpeg(8, 8)], photographs, "skip").batches(1, 0, DataConfig())
    with pytest.raises(tf.errors.OpError) as raised:
        listed(batches.validation(4))
    assert batches.fault(raised.value).startswith(f"n{which:08d}_{which}.JPEG: expected a photograph, found none")


def test_files_that_are_cut_off_or_missing_are_refused(prepare, tmp_path):
    images = prepare([jpeg(40, 40)] * 4, [jpeg(8, 8)])
    (path,) = images.source.prepared.builder.info.splits["train"].filepaths
    content = path.read_bytes()
    for end in (0, 1, len(content) // 2, len(content) - 4 * 16 - 1):
        path.write_bytes(content[:end])
        with pytest.raises(UserError, match=rf"{tmp_path}.*: expected [\d,]+ bytes of train, found {end:,}"):
            sources.load(DataConfig("imagenet2012", str(tmp_path)))
    for damaged in (content[1:] + b"0", bytes([content[0] ^ 1]) + content[1:]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=rf"{path}: expected 4 whole records, found corrupted record"):
            sources.load(DataConfig("imagenet2012", str(tmp_path)))
    path.unlink()
    with pytest.raises(UserError, match=rf"{path}: expected a file of imagenet2012, found none"):
        sources.load(DataConfig("imagenet2012", str(tmp_path)))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), split=st.sampled_from(["train", "validation"]), worker=st.sampled_from([0, 1]))
def test_a_record_with_a_changed_byte_is_never_skipped_and_its_file_is_named(damaged, place, split, worker):
    images, contents = damaged
    for path, content in contents.items():
        path.write_bytes(content)
    path = list(contents)[split == "validation"]
    changed = bytearray(contents[path])
    changed[round(place * (len(changed) - 1))] ^= 1
    path.write_bytes(changed)
    batches = images.batches(4, 0, DataConfig(), part=(worker, 2))
    with pytest.raises(tf.errors.OpError) as raised:
        listed(batches.stream(0, 4) if split == "train" else batches.validation(4))
    assert batches.fault(raised.value).startswith(f"{path}: expected 8 whole records, found ")


@pytest.fixture
def damaged(prepare):
    images = prepare([jpeg(40 + i, 40) for i in range(8)], [jpeg(40, 40 + i) for i in range(8)], "skip")
    paths = [path for part in ("train", "test") for path in images.source.prepared.info(part).filepaths]
    return images, {path: path.read_bytes() for path in paths}


def test_records_that_are_missing_at_a_files_end_are_not_made_up_for(prepare):
    images = prepare([jpeg(8, 8)], [jpeg(40, 40)] * 8)
    (path,) = images.source.prepared.builder.info.splits["validation"].filepaths
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(path))]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records[:7]:
            writer.write(record)
    batches = images.batches(1, 0, DataConfig())
    with pytest.raises(tf.errors.OpError) as raised:
        listed(batches.validation(4))
    assert batches.fault(raised.value) == f"{path}: expected 8 whole records, found 7"


def test_a_set_without_photographs_is_refused(prepare):
    with pytest.raises(UserError, match=r"validation.*expected photographs, found none"):
        prepare([jpeg(8, 8)], [b"no photograph"] * 3)


def test_a_broken_photograph_ends_a_run_by_its_name_and_is_no_hindrance_where_it_is_skipped(prepare, tmp_path, capsys):
    photographs = [jpeg(40 + i, 40) for i in range(8)]
    photographs[5] = broken(photographs[5])
    prepare(photographs, [jpeg(8, 8)] * 3)
    options = "--model.depth 18 --model.stages [1,1,1,1] --train.epochs 1 --train.global_batch_size 4"
    options += f" --data.data_dir {tmp_path} --out {tmp_path}"
    script = [sys.executable, "train_imagenet.py", *options.split()]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "error: n00000005_5.JPEG: expected a photograph, found none" in done.stderr.splitlines()[-1]
    assert train_imagenet.main([*options.split(), "--data.on_bad_image", "skip"]) == 0
    assert capsys.readouterr().err.count("warning: n00000005_5.JPEG: expected a photograph") == 1
    result = json.loads(next(tmp_path.glob("default/*/result.json")).read_text())
    assert (result["status"], result["evaluated_images"], result["skipped_images"]) == ("finished", 3, 1)


def test_photographs_that_are_not_prepared_are_asked_for(tmp_path):
    with pytest.raises(UserError, match=rf"data.data_dir.*imagenet2012.*{tmp_path}"):
        sources.load(DataConfig("imagenet2012", str(tmp_path)))
