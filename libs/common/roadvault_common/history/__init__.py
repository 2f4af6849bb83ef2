"""What people see of what happened: how attempts ended, a row for each day, and which services live."""
