"""Set up and open gates, and join what they are brought and what goes around them."""
