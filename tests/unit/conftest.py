"""Hypothesis leaves no files, and no deadline makes a slow machine fail."""

from hypothesis import settings

settings.register_profile("asyncmcp", database=None, deadline=None)
settings.load_profile("asyncmcp")
