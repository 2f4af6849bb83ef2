"""Who may do what: tokens of programs, accounts and sessions of people, and what they did."""
