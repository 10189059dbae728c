"""Imported first by the fork server of `train.engine`, so that it ends with its parent, also while it imports torch."""

from study.children import end_with_parent

end_with_parent()
