"""Builders and contract tests that ship with vladata, for its own tests and for plugins."""
