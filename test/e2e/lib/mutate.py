# SPDX-License-Identifier: Apache-2.0
"""Files that are nearly right.

	mutated(text, rng)          JSON with a few values of it changed, or bytes of its text, or cut off
"""
import json

# What stands where something else is meant.
ODD = [0, 1, -1, 2**31, 2**32 - 1, 2**32, 2**53, 2**63 - 1, -2**63, 0.5, 1e308, None, True, "", "0", "0xffffffffffffffff",
       "0xfffffffffffff000", "nothing", "a" * 5000, "\u0000", "../../x", [], {}, [[]], [{}]]
DEPTH = 3000


def places(tree, found):
    """Every (holder, key) of a tree."""
    keys = range(len(tree)) if isinstance(tree, list) else list(tree) if isinstance(tree, dict) else ()
    for key in keys:
        found.append((tree, key))
        places(tree[key], found)
    return found


def change(tree, rng):
    holder, key = rng.choice(places(tree, []))
    kind = rng.randrange(10)
    if kind < 4:
        holder[key] = rng.choice(ODD)
    elif kind < 6 and isinstance(holder[key], int):
        holder[key] = holder[key] ^ 1 << rng.randrange(63)
    elif kind == 6:
        del holder[key]
    elif kind == 7 and isinstance(holder, list):
        holder.extend([holder[key]] * rng.choice([1, 2, 300]))
    elif kind == 8 and isinstance(holder, dict):
        holder["unknown" if rng.random() < 0.5 else key + "x"] = holder[key]
    else:
        other, at = rng.choice(places(tree, []))
        holder[key] = json.loads(json.dumps(other[at]))


def mutated(text, rng):
    """Bytes of a file that was `text`."""
    if rng.random() < 0.6:
        tree = json.loads(text)
        for _ in range(rng.randint(1, 3)):
            change(tree, rng)
        text = json.dumps(tree)
        if rng.random() < 0.05:
            text = text.replace(":", ":" + "[" * DEPTH, 1)
        return text.encode()
    data = bytearray(text)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data))
        data[at] = rng.choice(b"0123456789abcdef\"{}[],:-x") if rng.random() < 0.8 else rng.randrange(256)
    if rng.random() < 0.1:
        del data[rng.randrange(len(data)):]
    return bytes(data)
