"""Checks on pictures that other people made."""
