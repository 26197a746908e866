"""Keeps a valid broker access token in `.env`. The doors are the modules at the top level."""

__version__ = "0.1.0"
