"""Composition: builds the services from the settings. The only place that knows every implementation.

May import: everything but cli.
"""
