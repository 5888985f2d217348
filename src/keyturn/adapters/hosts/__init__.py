"""The host gate's hands: sshd's configuration and helper, its processes, the verifier's socket and journal."""
