"""The command line: thin commands that parse arguments, call one use case through `wiring`, and show its result.

`main` holds the table of commands and is the only place that turns errors into exit statuses. Start-up stays under
150 ms: a command's module imports nothing heavy before it runs.
"""
