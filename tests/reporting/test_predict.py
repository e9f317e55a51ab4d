"""The command that says what a trained network takes images for."""

import io
import shutil

import numpy as np
import pytest
from photographs import jpeg
from PIL import Image
from recorded import write_run
from scipy.special import softmax

import models
import train_imagenet
from reporting import predict
from training import export
from training.config import DataConfig
from training.data import sources
from training.data.crops import central_view


@pytest.fixture(scope="module")
def digits():
    return sources.load(DataConfig("digits"))


@pytest.fixture
def untrained(tmp_path):
    """The directory of a finished run whose model is this network, with these names of classes."""

    def make(network, names):
        directory = write_run(tmp_path, [0.5], "--model.unit baseline")
        network.compile("sgd", "mse")
        mean = None if network.name == "resnet_18" else np.zeros(network.input_shape[1:], np.float32)
        export.save(directory / "checkpoints", network, mean, tuple(names))
        return directory

    return make


def said(capsys, *argv):
    assert predict.main([str(part) for part in argv]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert not captured.out
    return line


def test_each_image_gets_the_most_probable_classes_of_the_model_in_falling_order(run, digits, tmp_path, capsys):
    images = digits.test_images[:12]
    paths = [tmp_path / f"{i}.png" for i in range(12)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image[..., 0]).save(path)
    copy = shutil.copytree(run, tmp_path / "copy")
    (copy / "checkpoints" / "labels.txt").write_text("".join(f"the digit {i}\n" for i in range(10)))
    assert predict.main([str(copy), *map(str, paths)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[::6] == [str(path) for path in paths]
    logits = export.load(run / "checkpoints").predict(images, verbose=0)
    for i, row in enumerate(softmax(logits, axis=1)):
        best = row.argsort()[::-1][:5]
        assert lines[6 * i + 1 : 6 * i + 6] == [f"  {row[digit]:.2f}  the digit {digit}" for digit in best]


def test_fewer_classes_than_five_are_all_shown_and_sum_to_one(untrained, tmp_path):
    network = models.plain("small", num_classes=3, input_shape=(20, 24, 3))
    Image.fromarray(np.full((20, 24, 3), 7, np.uint8)).save(tmp_path / "a.bmp")
    (found,) = predict.classify(untrained(network, ["größer", "two  words", "c"]), [tmp_path / "a.bmp"])
    assert sorted(name for name, _ in found) == ["c", "größer", "two words"]
    assert sum(probability for _, probability in found) == pytest.approx(1)


def test_a_small_image_of_any_kind_is_what_training_would_see(run, digits, tmp_path):
    model = export.load(run / "checkpoints")
    image = digits.test_images[0]
    pixels = image[..., 0]
    for name, picture in {
        "gray.png": Image.fromarray(pixels),
        "colour.bmp": Image.fromarray(pixels).convert("RGB"),
        "palette.gif": Image.fromarray(pixels),
        "lossless.webp": Image.fromarray(pixels).convert("RGB"),
        "16.png": Image.fromarray(pixels.astype(np.uint16) * 256 + 200),
    }.items():
        picture.save(tmp_path / name, **({"lossless": True} if name == "lossless.webp" else {}))
        np.testing.assert_array_equal(predict.view(tmp_path / name, model), image, err_msg=name)


def test_a_small_image_of_another_size_is_seen_whole(untrained, tmp_path):
    network = models.plain("small", num_classes=2, input_shape=(20, 24, 3))
    (tmp_path / "a.jpg").write_bytes(jpeg(96, 60))
    found = predict.view(tmp_path / "a.jpg", export.load(untrained(network, "ab") / "checkpoints"))
    red, green = np.linspace(0, 255, 24)[None], np.linspace(0, 255, 20)[:, None]
    np.testing.assert_allclose(found[..., 0], red + 0 * green, atol=8)  # the outer pixels' centres lie further out
    np.testing.assert_allclose(found[..., 1], green + 0 * red, atol=8)


def test_a_run_on_photographs_gives_what_its_evaluation_gives(prepare, tmp_path, capsys):
    """Views are those of the evaluation to the bit; what is left is the order of sums in batches of another size."""
    photographs = [jpeg(60 + 7 * i, 90 - 5 * i, "L" if i == 3 else "RGB") for i in range(8)]
    images = prepare(photographs, photographs)
    options = f"--data.data_dir {tmp_path} --data.image_size 32 --model.depth 18 --train.epochs 1 --train.drops []"
    options += f" --train.global_batch_size 8 --train.learning_rate 0.001 --out {tmp_path / 'runs'}"
    assert train_imagenet.main(options.split()) == 0
    directory = next((tmp_path / "runs").glob("*/*/result.json")).parent
    model = export.load(directory / "checkpoints")
    of_size = sources.load(DataConfig("imagenet2012", str(tmp_path), image_size=32))
    ((views, *_),) = of_size.batches(8, 0, DataConfig()).validation(8)
    expected = softmax(model.predict(views, verbose=0), axis=1)
    paths = [tmp_path / f"{i}.jpg" for i in range(8)]
    for path, element in zip(paths, of_size.source.elements("test"), strict=True):
        path.write_bytes(of_size.source.example(*element)[0].numpy())
    for path, image in zip(paths, views, strict=True):
        np.testing.assert_array_equal(predict.view(path, model), image)
    found = [dict(classes) for classes in predict.classify(directory, paths)]
    for row, classes in zip(expected, found, strict=True):
        best = {images.class_names[i]: row[i] for i in row.argsort()[::-1][:5]}
        assert classes == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("size", [(60, 90), (91, 60), (28, 33)])
def test_a_photograph_is_seen_alike_where_tensorflow_does_not_decode_it(size, untrained, tmp_path):
    """Of a JPEG, Pillow has the slow transform and TensorFlow the fast one: 1 of 255 in the mean on such pictures."""
    network = models.imagenet_resnet(18, num_classes=2, input_shape=(32, 32, 3))
    model = export.load(untrained(network, "ab") / "checkpoints")
    file = jpeg(*size)
    with Image.open(io.BytesIO(file)) as picture:
        by_pillow = predict._central(picture, 32)
        picture.save(tmp_path / "a.png")
    expected = central_view(file, 32).numpy().astype(int)
    assert np.abs(by_pillow - expected).mean() < 2
    np.testing.assert_array_equal(predict.view(tmp_path / "a.png", model), by_pillow)


def test_orientation_is_not_looked_at(run, digits, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(digits.test_images[0][..., 0]).save(tmp_path / "turned.png", exif=exif)
    found = predict.view(tmp_path / "turned.png", export.load(run / "checkpoints"))
    np.testing.assert_array_equal(found, digits.test_images[0])


def test_what_is_no_image_is_named_before_anything_is_printed(run, digits, tmp_path, capsys):
    good, text, cut = tmp_path / "good.png", tmp_path / "text.png", tmp_path / "cut.jpg"
    Image.fromarray(digits.test_images[0][..., 0]).save(good)
    text.write_text("no image")
    cut.write_bytes(jpeg(60, 60)[:-400])
    for bad in (text, cut, tmp_path / "nowhere.png", tmp_path):
        assert f"error: {bad}: expected an image, found " in said(capsys, run, good, bad)


def test_what_is_no_finished_run_is_one_line_and_code_2(run, untrained, tmp_path, capsys):
    image = tmp_path / "a.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(image)
    assert f"{tmp_path / 'none'}: expected the directory of a finished run" in said(capsys, tmp_path / "none", image)
    copy = shutil.copytree(run, tmp_path / "copy")
    labels, model = (copy / "checkpoints" / name for name in ("labels.txt", "model.keras"))
    labels.write_text("one\ntwo\n")
    assert f"{labels}: expected 10 names of classes, found 2" in said(capsys, copy, image)
    labels.write_bytes(b"\xff\n" * 10)
    assert f"{labels}: expected the names of the classes, a line each, found" in said(capsys, copy, image)
    labels.unlink()
    assert f"{labels}: expected the names of the classes" in (line := said(capsys, copy, image))
    assert line.endswith("found none: the run is of an older version")
    model.unlink()
    assert f"{model}: expected the trained model" in said(capsys, copy, image)
    (copy / "result.json").unlink()
    assert "expected a finished run, found one that is unfinished" in said(capsys, copy, image)


def test_a_network_of_images_that_no_file_holds_is_refused(untrained, tmp_path, capsys):
    network = models.plain("small", num_classes=2, input_shape=(8, 8, 2))
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    line = said(capsys, untrained(network, "ab"), tmp_path / "a.png")
    assert line.endswith("expected a network of images with 1 or 3 channels, found 2")
