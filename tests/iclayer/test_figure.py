"""The figure of diagnostics: what it draws, and where."""

import keras
import numpy as np
import pandas as pd
import pytest
from diagnosed import COUNT, LOSS, gaussian, network

from iclayer.diagnostics import diagnose, figure
from iclayer.figure import LINES, LOGARITHMIC, MEASURES, ONLY


def rows(model, layers, mode="training", **values):
    """Rows as `diagnose` gives them, of weight layers or, with a variance shift, batch normalizations."""
    constant = np.nan if "variance_shift" in values else 0
    return pd.DataFrame({"model": model, "layer": layers, "mode": mode, "channels": 8, "constant": constant, **values})


def drawn(frame):
    return figure(frame.reindex(columns=frame.columns.union(list(MEASURES))))


def panels(frame):
    """The panels by measure, of one model; by measure and mode, of several."""
    by_label = {label: measure for measure, label in MEASURES.items()}
    found = {}
    for panel in drawn(frame).axes:
        measure, mode = by_label[panel.get_ylabel()], panel.get_title().removesuffix(" mode")
        found[(measure, mode) if mode else measure] = panel
    return found


def test_of_one_model_a_panel_for_each_measure_has_both_modes():
    found = panels(diagnose(network(keras.layers.BatchNormalization()), gaussian(np.eye(8))))
    assert list(found) == list(MEASURES)
    for measure, panel in found.items():
        kind = "batch normalization" if measure == "variance_shift" else "weight layer"
        assert panel.get_xlabel() == f"{kind}, from the input"
        assert [line.get_linestyle() for line in panel.lines] == ["-", ":"]  # training, inference


def test_of_several_models_each_measure_has_a_panel_for_each_mode_in_which_it_is_measured():
    measured = diagnose(network(keras.layers.BatchNormalization()), gaussian(np.eye(8)), np.zeros(COUNT), loss=LOSS)
    names = [f"network {i}" for i in range(13)]
    found = panels(pd.concat([measured.assign(model=name) for name in names]))
    assert set(found) == {
        (measure, mode) for measure in MEASURES for mode in LINES if measured.query("mode == @mode")[measure].count()
    }
    assert all(len(panel.lines) == len(names) for panel in found.values())
    for measure, label in MEASURES.items():
        assert len({panel.get_ylim() for panel in found.values() if panel.get_ylabel() == label}) == 1, measure


def test_training_is_on_the_left_and_inference_on_the_right_in_its_own_values():
    both = [
        rows(name, ["a", "b"], mode, nonnegative=value)
        for mode, value in (("training", 0.1), ("inference", 0.9))
        for name in "xy"
    ]
    found = panels(pd.concat(both))
    for mode, left, value in (("training", True, 0.1), ("inference", False, 0.9)):
        columns = {panel.get_position().x0 < 0.5 for (_, shown), panel in found.items() if shown == mode}
        assert columns == {left}
        assert [list(line.get_ydata()) for line in found["nonnegative", mode].lines] == [[value, value]] * 2


def test_the_first_four_models_stand_in_front_and_all_are_told_apart():
    names = [f"network {i}" for i in range(13)]
    picture = drawn(pd.concat([rows(name, ["a", "b"], nonnegative=0.5) for name in names]))
    (legend,) = picture.legends
    assert [text.get_text() for text in legend.get_texts()] == names
    for lines in (legend.get_lines(), *(panel.lines for panel in picture.axes)):
        looks = [(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines]
        assert len(set(looks)) == len(names)
        assert len({color for color, *_ in looks[:4]} - {"gray"}) == 4
        assert {color for color, *_ in looks[4:]} == {"gray"}
        assert len({dash for _, dash, _ in looks[4:7]}) == 3
    for panel in picture.axes:
        heights = [line.get_zorder() for line in panel.lines]
        assert min(heights[:4]) > max(heights[4:])


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("missing", [[], [0], [1, 2], [4], [0, 1, 2, 3, 4]])
def test_a_layer_stands_at_its_number_whatever_is_missing(measure, missing):
    values = np.arange(2.0, 7.0)
    values[missing] = np.nan
    names = ["e", "d", "c", "b", "a"]
    mode = ONLY.get(measure, "training")
    frame = pd.concat([rows("other", names, mode, **{measure: 1.0}), rows("net", names, mode, **{measure: values})])
    of_other_kind = {"variance_shift": 1.0} if measure != "variance_shift" else {"nonnegative": 1.0}
    frame = pd.concat([rows("net", ["f"], **of_other_kind), frame])
    panel = panels(frame)[measure, mode]
    line = panel.lines[0]  # of "net", whose row comes first
    assert panel.get_xlim() == (0.5, 5.5)
    there = np.isfinite(np.asarray(line.get_ydata(), float))
    np.testing.assert_array_equal(np.asarray(line.get_xdata())[there], np.delete(np.arange(1, 6), missing))
    np.testing.assert_array_equal(np.asarray(line.get_ydata())[there], np.delete(np.arange(2.0, 7.0), missing))


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
    heights, (bottom, top) = np.asarray(panel.lines[0].get_ydata()), panel.get_ylim()
    infinite = np.isinf(values)
    assert np.unique(heights[infinite]).size == 1
    assert bottom < heights[infinite][0] < top
    assert [(text.get_text().strip(), text.get_position()[1]) for text in panel.texts] == [("∞", heights[infinite][0])]
    assert not np.any(heights[~infinite] >= heights[infinite][0])
    np.testing.assert_array_equal(heights[~infinite], np.asarray(values)[~infinite])


@pytest.mark.parametrize("infinite", LINES)
def test_infinity_is_as_high_in_both_modes_and_marked_where_it_is(infinite):
    frame = pd.concat(
        [
            rows(name, ["a", "b"], mode, eigenvalue_spread=[2.0, 8.0 if mode == infinite else 50.0])
            for name in "xy"
            for mode in LINES
        ]
    )
    frame.loc[(frame["mode"] == infinite) & (frame["layer"] == "a"), "eigenvalue_spread"] = np.inf
    for mode in LINES:
        panel = panels(frame)["eigenvalue_spread", mode]
        marks = [text.get_position()[1] for text in panel.texts]
        assert marks == ([500.0] if mode == infinite else [])
        assert [line.get_ydata()[0] for line in panel.lines] == [500.0 if mode == infinite else 2.0] * 2
        assert panel.get_ylim()[1] > 500
