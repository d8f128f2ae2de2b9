"""Training: presets, the training step, callbacks, and a run from a preset to a model folder."""
