"""What a network returns, and how the reverse equation reads in it."""
