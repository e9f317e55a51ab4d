"""Many runs side by side: `python -m training.launch` gives each of them a process of its own, here or on a cluster.

It imports `training`, never `reporting`: the script that it is told shows the results.
"""
