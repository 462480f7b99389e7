"""Stacks: changed the way CloudFormation changes them."""
