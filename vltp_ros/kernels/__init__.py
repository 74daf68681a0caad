"""Triton kernels, and what decides by measuring whether they are used."""
