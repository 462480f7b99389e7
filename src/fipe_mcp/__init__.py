"""The prices for assistants: tools of the Model Context Protocol, read only."""
