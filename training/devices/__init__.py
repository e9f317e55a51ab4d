"""What computes: the backend and its environment, strategies, clusters, optimizer kernels, memory.

Of `training` it imports `config`, `errors` and `files` alone, and nothing of `training.data`.
"""
