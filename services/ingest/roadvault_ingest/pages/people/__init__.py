"""Tokens of programs, and accounts of people."""
