"""Lines are those of the text, and deciding by routes is deciding by rules."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from datamover.placement.decision import Command, Placement
from datamover.placement.lines import Lines
from datamover.placement.matching import Facts
from datamover.placement.route import Router, routing
from datamover.placement.rule_file import parse_rules

STRINGS = st.sampled_from(
    [
        '"x"',
        "'x'",
        '"a # b"',
        "'[[rule]]'",
        '"\\""',
        "'''\nkey = 1\n'''",
        '"""\n[[rule]]\n\\"""""',
        '"""a"b""c\n"""',
        "''''x''''",
        "3",
        "true",
        "[1, # x\n 2]",
        "{a = '}', b = [']']}",
        "1979-05-27",
        "[[1], ['\\n]']]",
        "-1.5e3",
    ]
)
KEYS = st.sampled_from(["codec", "path", "'name'", '"size"', "a-b", "a_1"])
BETWEEN = st.sampled_from(["", "\n", "# [[rule]] 'x\n", "  \t\n", "\r\n"])


@st.composite
def documents(draw):
    """A text, and the line of each of its keys, by table and number in the array."""
    text, where, counts = "", {}, {}
    for header in draw(st.lists(st.sampled_from(["[[rule]]", "[[ 'rule' ]] # x", "[default]"]))):
        name = "default" if "default" in header else "rule"
        number = counts.get(name, 0)
        if name == "default" and number:
            continue
        counts[name] = number + 1
        text += draw(BETWEEN)
        where[name, number, ""] = text.count("\n") + 1
        text += header + "\n"
        for key in draw(st.lists(KEYS, unique=True)):
            text += draw(BETWEEN)
            where[name, number, key.strip("'\"")] = text.count("\n") + 1
            text += f"{key} = {draw(STRINGS)}\n"
    return text, where


@given(documents())
def test_each_key_is_found_in_its_line(document):
    text, where = document
    tomllib.loads(text)
    lines = Lines(text)

    for (table, number, key), line in where.items():
        found = lines.key(table, number, key) if key else lines.table(table, number)
        assert found == line, (table, number, key, text)


CONTENT = {"text/plain": b"some text", "image/png": b"\x89PNG\r\n\x1a\n", "video/x-flv": b"FLV\1"}
CODECS = ["none", "lz4-1", "zstd-1", "zstd-9"]


@st.composite
def rules(draw):
    lines = []
    for _ in range(draw(st.integers(0, 6))):
        lines.append("[[rule]]")
        conditions = {
            "content": "'image/*'",
            "path": "['*.txt', '/a/*']",
            "size_at_least": "100",
            "size_below": "200",
            "age_at_least": "'1h'",
            "age_below": "'2h'",
            "archive": "'w*'",
        }
        lines += [
            f"{key} = {conditions[key]}"
            for key in draw(st.lists(st.sampled_from(sorted(conditions)), max_size=2, unique=True))
        ]
        lines.append(f"codec = '{draw(st.sampled_from(CODECS))}'")
    if draw(st.booleans()):
        lines += ["[default]", f"codec = '{draw(st.sampled_from(CODECS))}'"]
    return "\n".join(lines)


@given(
    text=rules(),
    archive=st.sampled_from(["", "weekly", "daily"]),
    path=st.sampled_from([b"/a/x", b"/b/x.txt", b"/b/y"]),
    size=st.sampled_from([1, 99, 100, 199, 200]),
    age_s=st.sampled_from([-1, 0, 3599, 3600, 7199, 7200]),
    content=st.sampled_from(sorted(CONTENT)),
)
def test_a_file_takes_the_route_that_the_rules_decide(text, archive, path, size, age_s, content):
    now = 10**18
    directory, _, name = path.rpartition(b"/")
    placement = Placement(parse_rules(text, "f"), command=Command(), archive=archive)
    facts = Facts(
        directory, name, size=size, age_ns=age_s * 10**9, head=lambda *_: CONTENT[content]
    )
    given, codecs = routing(placement, now)
    route = Router(given).route(
        directory, name, size, now - age_s * 10**9, lambda *_: CONTENT[content]
    )

    assert codecs[route] == placement.decide("codec", facts).value
