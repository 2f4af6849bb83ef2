"""Money: balance, price, spend, and what is to be renewed."""
