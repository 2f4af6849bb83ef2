"""Work on rows: leases, stages, outcomes, and what a failure means."""
