"""What the stack can't do, said in one sentence with the remedy."""


class StackError(Exception):
    """A sentence for the person at the terminal; no traceback is wanted with it."""
