"""Measurements of a model: likelihood of a data set, verification by codes, receptive field and causality."""
