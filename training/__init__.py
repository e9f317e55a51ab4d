"""One run and many: config, command line, grid, training, checkpoints, records, locks.

`data/` is what goes in, `devices/` is what computes; this folder is the story that uses both. It imports `models` and
`iclayer`, never `reporting`.
"""
