"""Enhance recorded bags."""
