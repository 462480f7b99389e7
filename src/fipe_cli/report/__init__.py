"""`fipe report`: one self-contained HTML page about a month, a vehicle and the load that brought them."""
