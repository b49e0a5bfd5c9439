"""Typed events and payloads, the source of the schemas and of the TypeScript types.

May import: pydantic and the standard library only.
"""
