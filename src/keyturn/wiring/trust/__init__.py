"""Join who belongs to a lab, and what it declares, to this machine."""
