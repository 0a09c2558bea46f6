"""Measures of drawn pictures: pure functions on arrays, each with a name of its own."""
