"""Evidence in the formats of others, verified offline by the libraries of those who made the formats, in the extra `evidence`."""
