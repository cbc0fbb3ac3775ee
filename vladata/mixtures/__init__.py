"""Mixtures: several exports, with weights and caps, as one dataset whose plan can be read."""
