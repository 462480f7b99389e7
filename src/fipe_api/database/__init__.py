"""What is written to PostgreSQL: prices, and the ledger of the loads that brought them."""
