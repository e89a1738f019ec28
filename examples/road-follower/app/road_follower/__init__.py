"""A small robot that follows a road with one camera and a small neural network."""

__version__ = "1.0"
