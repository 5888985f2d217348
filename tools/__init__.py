"""Programs for whoever works on Keyturn: they write the reference pages under docs/ from the source."""
