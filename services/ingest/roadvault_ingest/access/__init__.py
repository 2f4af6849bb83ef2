"""Who a request comes from, what they may do, and what they did."""
