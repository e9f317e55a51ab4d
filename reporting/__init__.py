"""What is read from records: analysis, tables, curves, reports, diagnostics of a finished run. Nothing trains here.

It imports `training`, `models` and `iclayer`; only scripts, benchmarks and notebooks import it.
"""
