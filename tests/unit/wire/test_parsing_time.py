"""The worst legal packets of maximal size: how long the event loop is blocked by one of them."""

import gc
import json
import math
from collections.abc import Callable
from time import thread_time

from roomcast.wire.limits import DEFAULT_LIMITS
from roomcast.wire.socketio import Decoder

SIZE = DEFAULT_LIMITS.max_payload_bytes - 1  # the Engine.IO packet type takes one
PLACEHOLDERS = ",".join(f'{{"_placeholder":true,"num":{number}}}' for number in range(10))
TEXT = '2["e",['
BINARY = f'510-["e",{PLACEHOLDERS},['


def filled(item: str, head: str = TEXT, tail: str = "]]") -> str:
    """A packet of maximal size: the item, again and again."""
    count = (SIZE - len(head) - len(tail)) // (len(item.encode()) + 1)
    return f"{head}{','.join([item] * count)}{tail}"


# Found by trying each kind of value alone, in arrays, as keys, nested, and with what makes a check necessary.
WORST = {
    "120 levels of arrays": filled("[" * 120 + "]" * 120),
    "120 levels of objects": filled('{"a":' * 119 + "{}" + "}" * 119),
    "empty arrays": filled("[]"),
    "empty objects": filled("{}"),
    "objects with one key": filled('{"":0}'),
    "empty arrays at the deepest level": filled("[]", '2["e",' + "[" * 126, "]" * 127),
    "mixed nesting": filled('[0,{"":' * 60 + "0" + "}]" * 60),
    "integers": filled("0"),
    "integers, and a string like a long number": filled("0", f'2["e","{"0" * 400}",['),
    "floats, and an exponent": filled("0.1", '2["e",1e9,['),
    "exponents": filled("1e9"),
    "large exponents": filled("1e100"),
    "long integers": filled("9" * 309),
    "long floats": filled("1." + "1" * 307),
    "strings, and brackets": filled('""', f'2["e",{"[" * 65 + "]" * 65},{"{}," * 65}['),
    "escapes, and brackets": filled('"\\""', f'2["e",{"[" * 65 + "]" * 65},{"{}," * 65}['),
    "surrogates": filled('"\\ud83d\\ude00"'),
    "different keys": '2["e",{' + ",".join(f'"{number:x}":0' for number in range(105_000)) + "}]",
    "the same key": filled('"a":0', '2["e",{', "}]"),
    "placeholders and empty arrays": filled("[]", BINARY),
    "placeholders and empty objects": filled("{}", BINARY),
    "placeholders and objects with one key": filled('{"":0}', BINARY),
    "placeholders and 120 levels": filled("[" * 120 + "]" * 120, BINARY),
}


def shortest_s(work: Callable[[], object], enough_s: float = 0.0) -> float:
    """The least CPU time of a few runs, since other processes disturb each; ``enough_s`` ends the search."""
    shortest = math.inf
    for _ in range(4):
        start = thread_time()
        result = work()
        shortest = min(shortest, thread_time() - start)
        del result
        if shortest <= enough_s:
            break
    return shortest


def test_no_legal_packet_takes_much_longer_than_the_slowest_text_in_the_parser_of_python() -> None:
    assert all(0.98 * SIZE < len(text.encode()) <= SIZE for text in WORST.values())
    slowest = WORST["120 levels of arrays"][1:]
    gc.disable()
    try:
        reference_s = shortest_s(lambda: json.loads(slowest))  # about 30 ms on the machine whose limit is 100 ms
    finally:
        gc.enable()
    limit_s = 5 * reference_s  # it was 11 times for 120 levels with placeholders
    took_s = {name: shortest_s(lambda text=text: Decoder().add(text), limit_s) for name, text in WORST.items()}  # type: ignore[misc]
    assert {name: f"{time_s / reference_s:.1f}" for name, time_s in took_s.items() if time_s > limit_s} == {}
