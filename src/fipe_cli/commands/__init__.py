"""The commands of `fipe`. Each reads its options and calls one module.

It imports that module itself, so that the other commands need not wait for it.
"""
