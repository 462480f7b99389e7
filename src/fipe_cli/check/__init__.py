"""`fipe check`: proves every part of a deployed stage. It starts no load and leaves nothing behind."""
