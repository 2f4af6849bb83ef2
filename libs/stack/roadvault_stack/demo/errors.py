"""What the demo says when something is not as it should be."""


class DemoError(Exception):
    """A check failed, or something took too long; the message says which, with what was seen."""
