"""The `roomcast` command.

Layer: cli, the top.
"""
