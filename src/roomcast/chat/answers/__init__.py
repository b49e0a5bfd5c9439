"""Answers of an AI: how they grow, how they are read while they grow, and what a model receives.

May import: model, errors, ports, contract.

| module | what |
|---|---|
| ``answer``, ``answer_state``, ``chunks`` | an answer that grows: safe chunks, their fold into parts, one chunk |
| ``context`` | the messages that a responder receives, within a token budget |
| ``following`` | one reader of a turn, for protocols that stream one answer |
"""
