"""What tests of several parts share: real processes on free ports, clients, and a clock that does not wait."""
