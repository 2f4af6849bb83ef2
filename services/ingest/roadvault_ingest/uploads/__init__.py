"""Uploads: who may, what they are called, how they get to disk and are recorded."""
