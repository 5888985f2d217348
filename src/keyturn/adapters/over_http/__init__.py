"""The ports of another process, over HTTP: bounded bodies, time-outs, and errors with their codes."""
