"""Commands about who belongs to a lab, with which keys, and under which policy."""
