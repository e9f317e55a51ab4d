"""What it costs, and how fast it is: `make bench`, a file for each question.

It may import every package; none imports it.
"""
