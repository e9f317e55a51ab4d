"""The text of tables, and names in them that have a meaning in Markdown, LaTeX or a figure."""

import numpy as np
import pandas

from training import tables


def test_a_difference_that_a_seed_lacks_counts_in_no_error_and_is_told():
    units = pandas.DataFrame({"n": [3, 3]} | {f"epochs_to_{target:g}_n": 0 for target in tables.records.TARGETS})
    pairs = pandas.DataFrame({"unit": "a", "less": "b", "spread": np.nan, "last": [0.1, 0.3, np.nan]})
    pairs["mean"], pairs["drop"] = [0.1, 0.2, 0.3], [np.nan, 0.5, np.nan]
    row = tables.differences_table(units, pairs).iloc[0].to_dict()
    assert row == {
        "difference": "`a` less `b`",
        "n": "3",
        "mean of all epochs": "+0.2000 ± 0.0577",  # the standard deviation, 0.1, over the root of 3
        "largest drop": "+0.5000 (1 of 3 seeds)",
        "last epoch": "+0.2000 ± 0.1000 (2 of 3 seeds)",
    }
