"""Stores: data directories with the Kubo nodes beside them, each with services of its own."""

import re

MAIN = "main"
"""The store of a system that has but one."""
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
"""What a store may be called: a part of stream names, paths and host names."""
