"""Running a step under custody, and releasing and verifying what came of it."""
