"""The source of prices: its calls, their pace, and the mirror that stands in for it."""
