"""The local cloud: what the application needs of AWS, on one machine."""
