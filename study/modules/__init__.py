"""Torch modules of the user: how they are described, built, called and stored."""
