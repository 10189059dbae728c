"""Whether this machine is fit to measure on: `python -m bench doctor`."""
