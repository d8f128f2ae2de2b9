"""Training: presets, the step, callbacks, and one run from a preset to a model folder."""
