"""The local cloud: the application's AWS on one machine."""
