"""Loads all of PyAV, which by itself loads what a video needs as it meets it; once a job is confined that is too late.

Jobs import this beside `av`.
"""

import importlib
import pkgutil

import av

_NOT_NEEDED = ("av.__main__", "av.datasets")
"""A command line; samples of the network's."""

for _module in pkgutil.walk_packages(av.__path__, "av."):
    if _module.name not in _NOT_NEEDED:
        importlib.import_module(_module.name)
