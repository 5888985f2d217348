"""Commands that look at the log, keep it whole, and keep it honest."""
