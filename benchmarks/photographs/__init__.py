"""`python -m benchmarks.photographs`: photographs a second, and what starting with a folder of many takes.

The latter has a process of its own, `folder_start`, whose memory is that of a start and of nothing else.
"""
