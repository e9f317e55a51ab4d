"""What goes in: a file for each kind of source, images in memory and photographs on disk, and their augmentation.

Of `training` it imports `config`, `errors` and `files` alone, and nothing of `training.devices`.
"""
