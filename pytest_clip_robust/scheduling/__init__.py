"""Many workers: which GPU each gets, which tests, and what happens when one dies."""
