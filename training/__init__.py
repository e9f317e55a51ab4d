"""What the training scripts share: configs, data, runs, grids, records and reports."""
