"""AWS as the functions use it."""
