"""`fipe import`: writes what others publish, or this project exported, to the database."""
