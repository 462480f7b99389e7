"""The prices over HTTP, read only: a server runs it here, and Lambda as FipeQuery."""
