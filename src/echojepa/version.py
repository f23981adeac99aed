"""The version of this package, in a module that imports nothing: files that are written name it."""

__version__ = "0.1.0"
