"""Terabytes: read, hash and compare whole trees of files with all cores; the only room of the lower half with threads."""
