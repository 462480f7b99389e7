"""What a load does, from the request to the prices."""
