"""Records in other tools' formats: data in, text out, each checked against what its consumer reads."""
