"""Measurements: each row against a floor of the same run, or an absolute goal; ``python -m bench [ROW ...]``."""
