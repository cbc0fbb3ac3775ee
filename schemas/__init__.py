"""Embodiment schemas that come with vladata: one YAML file each."""
