"""Smaller files that compute the same: units that decide nothing are removed, zeros are stored sparsely."""
