"""`roadvault recovery-sheet` and `master-key join`: what a person needs when all machines are gone, on paper.

What is secret of it goes to the terminal, or to a file that the operator names, and nowhere else: to no log, no error,
no temporary file.
"""
