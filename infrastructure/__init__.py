"""The constructs of the stacks, one capability each."""
