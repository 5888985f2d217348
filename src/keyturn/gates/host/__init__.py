"""The host gate: sshd asks it for every key, and it lets in whom people granted the host, for as long as they did."""
