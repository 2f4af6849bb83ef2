"""Whatever is parsed of a video: in a process of its own that can do nothing else (`sandbox.py`).

Of its modules only those that run in that process (`child.py` and the jobs) load PyAV.
"""
