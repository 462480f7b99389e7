"""Who signed a request, and what they may do: for what moto does not check."""
