"""The networks that `benchmarks.training_speed` has train in turns, each in a process of its own.

They share `turns`; that of PyTorch may have a Python of its own.
"""
