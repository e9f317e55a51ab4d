"""A checkpoint is whole or it is not read; the one before it is there."""

import re
import resource

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import iclayer
from training import checkpoint, export, files
from training.errors import UserError


def small_model(units=3):
    """A compiled model with batch normalization, dropout and an optimizer with state, trained for a step."""
    inputs = keras.Input((4,))
    x = iclayer.IC(0.5, seed=1)(keras.layers.Dense(units, name="first")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2, name="second")(x), name="small")
    model.compile("adam", "mse", jit_compile=False)
    model.train_on_batch(np.ones((8, 4)), np.ones((8, 2)))
    return model


def values(model):
    return [np.array(variable) for variable in [*model.variables, *model.optimizer.variables]]


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture
def folder(tmp_path, model):
    """Checkpoints of the epochs 2 and 3."""
    for epochs in (1, 2, 3):
        checkpoint.save(tmp_path, model, epochs, f"rows of {epochs}")
    return tmp_path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_last_two_are_kept(folder):
    assert names(folder) == ["epoch-000002.state", "epoch-000003.state"]


def test_weights_statistics_seed_states_and_optimizer_come_back_to_the_bit(folder, model):
    saved = values(model)
    paths = [variable.path for variable in model.variables]
    assert any("seed" in path for path in paths)
    model.train_on_batch(np.ones((8, 4)), np.zeros((8, 2)))
    changed = [not np.array_equal(x, y) for x, y in zip(values(model), saved, strict=True)]
    assert all(changed[i] for i, path in enumerate(paths) if "seed" in path or "moving" in path)
    state = checkpoint.newest(folder)
    checkpoint.restore(state, model)
    assert (state.epochs, state.history) == (3, "rows of 3")
    for x, y in zip(values(model), saved, strict=True):
        np.testing.assert_array_equal(x, y)
        assert x.dtype == y.dtype


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 200, 0.5, -1])
def test_a_truncated_newest_one_is_passed_over_with_one_warning(length, folder, capsys):
    path = folder / "epoch-000003.state"
    content = path.read_bytes()
    path.write_bytes(content[: int(length * len(content)) if isinstance(length, float) else length])
    assert checkpoint.newest(folder).epochs == 2
    warning = capsys.readouterr().err
    assert warning.count("\n") == 1
    assert warning.startswith(f"warning: {path}: expected")
    assert "going on from epoch 2" in warning


def test_one_flipped_byte_is_enough(folder, capsys):
    path = folder / "epoch-000003.state"
    content = bytearray(path.read_bytes())
    content[-300] ^= 1
    path.write_bytes(content)
    assert checkpoint.newest(folder).epochs == 2
    assert "checksum" in capsys.readouterr().err


def test_where_none_is_whole_nothing_is_started_over_silently(folder):
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"epoch-000003.*epoch-000002.*`--resume never` starts this run over"):
        checkpoint.newest(folder)


def test_what_a_killed_process_was_writing_is_ignored_and_swept_up(folder, model, tmp_path):
    (folder / "epoch-000004.state.123.new").write_bytes(b"half")
    assert checkpoint.newest(folder).epochs == 3
    checkpoint.save(folder, model, 4, "")
    assert names(folder) == ["epoch-000003.state", "epoch-000004.state"]
    (tmp_path / "none").mkdir()
    assert checkpoint.newest(tmp_path / "none") is None


def test_the_state_of_another_model_is_refused(folder):
    with pytest.raises(UserError, match="variables of small, found those of another model"):
        checkpoint.restore(checkpoint.newest(folder), small_model(units=5))


def test_a_full_disk_leaves_what_was_there(folder, model):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # a write beyond 1,000 bytes fails
    try:
        with pytest.raises(
            UserError, match=r"epoch-000004.state: expected to write [\d,]+ bytes, found File too large"
        ):
            checkpoint.save(folder, model, 4, "")
        with pytest.raises(UserError, match=r"model.keras: expected to write the trained model, found"):
            export.save(folder, model, None, ())
        with pytest.raises(UserError, match=r"epoch-000003.state: expected to write 2,000 bytes"):
            files.replace(folder / "epoch-000003.state", bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_too_little_space_is_told_before_training(folder, model, monkeypatch):
    size = sum(array.nbytes for array in values(model))
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 4 * size - 1}))
    with pytest.raises(UserError, match=re.escape(f"expected {4 * size:,} bytes free")):
        checkpoint.check_space(folder, model)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 4 * size}))
    checkpoint.check_space(folder, model)


STATE = checkpoint.State(3, "epoch,loss\n1,0.5\n", [("a", np.arange(5, dtype=np.float32)), ("b", np.array(7))])
ENCODED = checkpoint.encode(STATE)


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_bytes_that_differ_are_never_taken(data):
    start = data.draw(st.integers(0, len(ENCODED)))
    end = data.draw(st.integers(start, len(ENCODED)))
    changed = ENCODED[:start] + data.draw(st.binary(max_size=40)) + ENCODED[end:]
    if changed == ENCODED:
        state = checkpoint.decode(changed)
        assert (state.epochs, state.history) == (3, STATE.history)
    else:
        with pytest.raises(ValueError, match="checksum"):
            checkpoint.decode(changed)
