"""The source of prices: its calls, their pace, and the mirror that replaces it while it blocks."""
