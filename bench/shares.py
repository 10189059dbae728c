"""Shares on the command line."""

import argparse
import math


def share(text: str) -> float:
    """A share of 0 or more, of a text such as "3%" or "0.03".

    Raises:
        argparse.ArgumentTypeError: it is none; 3 may mean 3 %.
    """
    number, percent, rest = text.partition("%")
    try:
        value = float(number) / (100 if percent else 1)
    except ValueError:
        value = math.nan
    if rest.strip() or not 0 <= value < math.inf or (value >= 1 and not percent):
        raise argparse.ArgumentTypeError(f"expected a share such as 3% or 0.03, found {text!r}")
    return value
