"""`fipe report`: a self-contained HTML page of a load, its month and a vehicle, in English and Portuguese."""
