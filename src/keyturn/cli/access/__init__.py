"""Commands by which people ask for access, agree, connect, look, and take back."""
