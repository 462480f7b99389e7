"""Stacks: changed the way CloudFormation changes them."""


class StackError(Exception):
    """A resource of a stack could not be created, updated or deleted; the text names it and says why."""
