"""The schema, in numbered steps: SQL files that `schema` runs in order, each once. A step that was released never changes."""
