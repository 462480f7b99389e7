"""The command `fipe`: start a load, watch it, mend it, and use what it loaded, here and on AWS."""
