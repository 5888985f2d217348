"""The postgres gate: a role that exists for a grant, with the grant's privileges, and its connections while it stands."""
