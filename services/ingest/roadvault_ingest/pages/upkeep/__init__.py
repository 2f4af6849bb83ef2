"""Upkeep: what a person decides, and what the command line does besides."""
