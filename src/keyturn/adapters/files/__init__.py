"""What lies on this machine's disk, written durably and with the permissions that it needs."""
