"""What a lab looks at to see how it is doing: its health, its figures, who has which access, what is to be erased."""
