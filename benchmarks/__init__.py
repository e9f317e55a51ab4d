"""What it costs, and how fast it is: `make bench`."""
