"""Telling people, and running their own commands: never in the way of a renewal."""
