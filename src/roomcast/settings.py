"""Settings.

Layer: settings.
"""
