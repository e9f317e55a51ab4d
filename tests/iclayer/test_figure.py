"""The figure of diagnostics: what it draws, and where."""

import keras
import numpy as np
import pandas as pd
import pytest
from diagnosed import COUNT, gaussian, network

from iclayer.diagnostics import diagnose, figure
from iclayer.figure import LOGARITHMIC, MEASURES


def rows(model, layers, mode="training", **values):
    """Rows as `diagnose` gives them, of weight layers or, with a variance shift, batch normalizations."""
    constant = np.nan if "variance_shift" in values else 0
    return pd.DataFrame({"model": model, "layer": layers, "mode": mode, "channels": 8, "constant": constant, **values})


def panels(frame):
    drawn = figure(frame.reindex(columns=frame.columns.union(list(MEASURES))))
    by_label = {panel.get_ylabel(): panel for panel in drawn.axes if panel.get_ylabel()}
    assert set(by_label) == set(MEASURES.values())
    return {measure: by_label[label] for measure, label in MEASURES.items()}


def test_a_figure_has_a_panel_for_each_measure_and_a_line_for_each_model_and_mode():
    frame = diagnose(network(keras.layers.BatchNormalization()), gaussian(np.eye(8)))
    names = {f"network {i}" for i in range(13)}
    drawn = figure(pd.concat([frame.assign(model=name) for name in names]))
    for panel in drawn.axes[:-1]:
        kind = "batch normalization" if "variance" in panel.get_ylabel() else "weight layer"
        assert panel.get_xlabel() == f"{kind}, from the input"
        assert len(panel.lines) == 2 * len(names)
    assert {text.get_text() for text in drawn.axes[-1].get_legend().get_texts()} >= names


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("missing", [[], [0], [1, 2], [4], [0, 1, 2, 3, 4]])
def test_a_layer_stands_at_its_number_whatever_is_missing(measure, missing):
    values = np.arange(2.0, 7.0)
    values[missing] = np.nan
    names = ["e", "d", "c", "b", "a"]
    frame = pd.concat([rows("other", names, **{measure: 1.0}), rows("net", names, **{measure: values})])
    of_other_kind = {"variance_shift": 1.0} if measure != "variance_shift" else {"nonnegative": 1.0}
    frame = pd.concat([rows("net", ["f"], **of_other_kind), frame])
    panel = panels(frame)[measure]
    line = panel.lines[0]  # of "net", whose row comes first
    assert panel.get_xlim() == (0.5, 5.5)
    drawn = np.isfinite(np.asarray(line.get_ydata(), float))
    np.testing.assert_array_equal(np.asarray(line.get_xdata())[drawn], np.delete(np.arange(1, 6), missing))
    np.testing.assert_array_equal(np.asarray(line.get_ydata())[drawn], np.delete(np.arange(2.0, 7.0), missing))


def test_a_layer_that_one_mode_alone_calls_leaves_the_others_at_their_numbers():
    names = ["a", "b", "c"]
    frame = pd.concat([rows("net", names, nonnegative=0.5), rows("net", ["a", "c"], "inference", nonnegative=0.5)])
    training, inference = panels(frame)["nonnegative"].lines
    assert (list(training.get_xdata()), list(inference.get_xdata())) == ([1, 2, 3], [1, 3])


def test_one_input_channel_moves_no_layer_of_the_figure():
    model = network(keras.layers.Dense(4), keras.layers.Dense(5), channels=1)
    images = np.random.default_rng(0).standard_normal((COUNT, 1)).astype(np.float32)
    panel = panels(diagnose(model, images))["mean_abs_correlation"]
    for line in panel.lines:
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
        np.testing.assert_array_equal(np.isfinite(line.get_ydata()), [False, True, True])


@pytest.mark.parametrize("values", [[np.inf, np.inf], [np.inf, 3.0], [0.5, np.inf, np.nan], [1e-9, 1e12, np.inf]])
@pytest.mark.parametrize("measure", LOGARITHMIC)
def test_infinite_values_are_drawn_at_the_top(measure, values):
    panel = panels(rows("net", [f"layer{i}" for i in range(len(values))], **{measure: values}))[measure]
    drawn, (bottom, top) = np.asarray(panel.lines[0].get_ydata()), panel.get_ylim()
    infinite = np.isinf(values)
    assert np.unique(drawn[infinite]).size == 1
    assert bottom < drawn[infinite][0] < top
    assert [(text.get_text().strip(), text.get_position()[1]) for text in panel.texts] == [("∞", drawn[infinite][0])]
    assert not np.any(drawn[~infinite] >= drawn[infinite][0])
    np.testing.assert_array_equal(drawn[~infinite], np.asarray(values)[~infinite])
