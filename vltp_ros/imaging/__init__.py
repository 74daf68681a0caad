"""Pixels: out of messages and files, painted over, in space, in bags."""
