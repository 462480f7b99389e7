"""`fipe value`: what the vehicles of a list are worth."""
