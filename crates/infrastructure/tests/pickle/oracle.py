"""What Python makes of a pickle, for the tests that compare: a restricted unpickler, and a corpus.

    oracle.py corpus   prints pickles, one a line, in hexadecimal
    oracle.py serve    answers: a length of 4 bytes (the least significant first) and a pickle come in, a length and a
                       text go out: `!` and why it is refused, or the value in JSON, each shared object by a number
"""

import hashlib
import io
import json
import math
import pickle
import random
import resource
import struct
import sys


class Restricted(pickle.Unpickler):
    def find_class(self, module, name):
        raise pickle.UnpicklingError(f"{module}.{name} is forbidden")


def number_of(seen, value):
    """The number of an object, and whether it was met before."""
    if id(value) in seen:
        return seen[id(value)], True
    seen[id(value)] = len(seen)
    return seen[id(value)], False


def atom(value):
    if value is None:
        return ["N"]
    if isinstance(value, bool):
        return ["B", value]
    if isinstance(value, int):
        return ["I", str(value)]
    if isinstance(value, float):
        return ["F", "nan" if math.isnan(value) else struct.pack(">d", value).hex()]
    if isinstance(value, bytes):
        return ["Y", value.hex()]
    if isinstance(value, str):
        return ["T", value.encode("utf-8", "surrogatepass").hex()]
    raise TypeError(type(value))


def compact(value):
    return json.dumps(value, separators=(",", ":"))


def digest(memo, value):
    """A digest of what can be a member of a set: what is shared is not written out again."""
    key = id(value)
    if key not in memo:
        if isinstance(value, tuple):
            parts = ["t", [digest(memo, item) for item in value]]
        elif isinstance(value, frozenset):
            parts = ["f", sorted(digest(memo, item) for item in value)]
        else:
            parts = atom(value)
        memo[key] = hashlib.sha256(compact(parts).encode()).hexdigest()
    return memo[key]


def described(value, seen, memo):
    if isinstance(value, frozenset):
        return ["f", sorted(digest(memo, item) for item in value)]
    if value == () and isinstance(value, tuple):
        return ["t"]
    if not isinstance(value, (tuple, list, dict, set, bytearray)):
        return atom(value)
    number, again = number_of(seen, value)
    if again:
        return ["r", number]
    if isinstance(value, bytearray):
        return ["A", number, value.hex()]
    if isinstance(value, set):
        return ["s", number, sorted(digest(memo, item) for item in value)]
    if isinstance(value, dict):
        return ["d", number, [[described(k, seen, memo), described(v, seen, memo)] for k, v in value.items()]]
    kind = "l" if isinstance(value, list) else "t"
    return [kind, number, [described(item, seen, memo) for item in value]]


def answer(data):
    try:
        # A reader that can be peeked into is read whole, as `pickle.loads` does.
        value = Restricted(io.BufferedReader(io.BytesIO(data), 1 << 17)).load()
    except Exception as error:
        return "!" + type(error).__name__
    return compact(described(value, {}, {}))


def serve():
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    sys.setrecursionlimit(20_000)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while len(head := source.read(4)) == 4:
        told = answer(source.read(struct.unpack("<I", head)[0])).encode()
        sink.write(struct.pack("<I", len(told)) + told)
        sink.flush()


def values():
    """What backends keep in their caches, and what else a pickle can hold."""
    session = {
        "user_id": 3685,
        "account_id": 1688,
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/128.0",
        "user_ip": "203.0.113.7",
        "for_api_key": False,
        "is_superuser": False,
    }
    yield session
    yield {"account_id": 1688}
    yield {"account_id": "acme", "user_id": None, "expires": 1.7e9, "tags": ("a", "b", ["c"])}
    yield {**session, "user_agent": "é Отчёт \U0001f600 \ud800 \\u0041 \\ 'quoted' \"twice\" \n\r\t\0\x7f"}
    yield {**session, "nested": {"deep": {"deeper": [1, 2.5, None, True, {"x": ()}]}}}
    yield ["7f3a9c2e51" * 4, "b04d187f3a" * 4]
    yield {1: "a", 1.5: "b", None: "c", (1, "x"): "d", b"k": "e", True: "f"}
    for number in (0, 1, -1, 255, 256, 65535, 65536, 2**31 - 1, 2**31, -(2**31), 2**63, -(2**63), 10**30, 2**126, 2**200):
        yield number
    for number in (0.0, -0.0, 1.5, 1e308, 5e-324, math.inf, -math.inf, math.nan):
        yield number
    yield from (None, True, False, "", "x" * 300, b"", b"\x00\xff" * 200, bytearray(b"abc"), (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4))
    yield from ([], {}, set(), frozenset(), {1, 2, 3}, frozenset({1, (2, "x"), frozenset({4})}), {"a": {1}, "b": [frozenset()]})
    shared = [1, 2]
    yield [shared, shared, (shared,), {"k": shared}]
    yield list(range(2500))
    yield {str(n): n for n in range(1200)}
    own = []
    own.append(own)
    yield own
    own = {}
    own["self"] = own
    own["list"] = [own]
    yield own
    laughs = []
    for _ in range(40):
        laughs = [laughs, laughs]
    yield laughs
    laughs = ()
    for _ in range(40):
        laughs = (laughs, laughs)
    yield laughs
    deep = []
    for _ in range(60):
        deep = [deep]
    yield deep
    for _ in range(60):
        deep = [deep]
    yield deep
    seeded = random.Random(7)
    yield from (anything(seeded, 4) for _ in range(300))


def anything(seeded, depth):
    leaf = [
        lambda: None,
        lambda: seeded.random() < 0.5,
        lambda: seeded.getrandbits(seeded.choice((3, 8, 16, 31, 64, 100))) * seeded.choice((1, -1)),
        lambda: seeded.gauss(0, 1e6),
        lambda: "".join(chr(seeded.choice((65, 233, 1054, 0x1F600, 10, 92))) for _ in range(seeded.randrange(6))),
        lambda: seeded.randbytes(seeded.randrange(6)),
    ]
    if depth == 0 or seeded.random() < 0.4:
        return seeded.choice(leaf)()
    count = seeded.randrange(5)
    kind = seeded.randrange(5)
    if kind == 0:
        return [anything(seeded, depth - 1) for _ in range(count)]
    if kind == 1:
        return tuple(anything(seeded, depth - 1) for _ in range(count))
    if kind == 2:
        return {seeded.choice(leaf)(): anything(seeded, depth - 1) for _ in range(count)}
    made = (set, frozenset)[kind - 3]
    return made(seeded.choice(leaf)() for _ in range(count))


def corpus():
    for value in values():
        for protocol in range(6):
            for dumps in (pickle.dumps, pickle._dumps):
                print(dumps(value, protocol=protocol).hex())
    # As the pickler writes it without a memo.
    for protocol in range(6):
        out = io.BytesIO()
        pickler = pickle.Pickler(out, protocol)
        pickler.fast = True
        pickler.dump({"user_id": 3685, "account_id": 1688, "tags": ["a", "a"]})
        print(out.getvalue().hex())


if __name__ == "__main__":
    {"serve": serve, "corpus": corpus}[sys.argv[1]]()
