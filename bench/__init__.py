"""This stage. Before any other package comes `study`, which says so where one is missing or Python is too old."""

import study  # noqa: F401
