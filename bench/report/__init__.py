"""Records to eyes."""
