"""Looking at archives on the market, at each by itself and at all at once."""
