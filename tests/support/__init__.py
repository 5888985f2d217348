"""Builders of test values that several rooms share. Everything here is made with the real code."""
