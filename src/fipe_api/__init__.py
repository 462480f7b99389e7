"""The Lambda code that carries one reference month of FIPE from the source's API into PostgreSQL."""
