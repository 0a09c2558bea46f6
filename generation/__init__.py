"""Draws pictures: plain request types, the fair queue, the worker process and its techniques."""
