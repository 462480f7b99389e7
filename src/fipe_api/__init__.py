"""The Lambda code: it loads reference months of FIPE from the source into PostgreSQL."""
