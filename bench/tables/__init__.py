"""What a record says, in words and figures: the catalog of columns and the words of every doubt."""
