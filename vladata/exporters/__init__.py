"""Exporters write datasets that trainers read; one module here is one format."""
