"""Being logged in at an OpenID provider, as the client and as the service see it. It decides who reads, and nothing else."""
