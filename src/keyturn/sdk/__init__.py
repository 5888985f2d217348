"""What `import keyturn` is for: the few names that other programs use, with nothing of the command line or the services."""
