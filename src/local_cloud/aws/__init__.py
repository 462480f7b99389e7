"""The emulator: what answers for AWS on one machine, moto extended."""
