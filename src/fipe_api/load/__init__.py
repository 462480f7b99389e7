"""What a load does, from its request to its prices."""
