"""Keeping the lab's log, following it, proving what is in it, and looking whether it is whole."""
