"""Shared by tests of several parts: real processes on free ports, clients, and an event loop in virtual time."""
