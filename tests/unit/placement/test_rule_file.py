"""A rule file is read as it was written, and what is wrong in it is said with its line."""

import pytest

from datamover.errors import RuleError
from datamover.placement.rule import SIZE_MAX, Conditions
from datamover.placement.rule_file import parse_rules
from datamover.units import KIB, MIB

FULL = """\
version = 1

[[rule]]
name = "film and pictures"
content = ["image/*", "video/*"]   # by what is in them
codec = "none"

[[rule]]
path = '*.log'
size_at_least = "4KiB"
size_below = 1_000_000
age_at_least = "7d"
age_below = "90d"
archive = ["weekly*", "monthly"]
codec = "zstd-9"

[[rule]]
archive = "weekly*"
chunk_size = "256MiB"
cipher = "chacha20-poly1305"

[default]
codec = "lz4"
"""


def test_a_file_says_what_it_says():
    film, logs, weekly, default = parse_rules(FULL, "f").rules

    assert (film.name, film.line, film.codec) == ("film and pictures", 3, "none")
    assert film.when == Conditions(content=("image/*", "video/*"))
    assert (logs.name, logs.line, logs.codec) == ("rule 2", 8, "zstd-9")
    assert logs.when == Conditions(
        path=("*.log",),
        size_at_least=4 * KIB,
        size_below=1_000_000,
        age_at_least=7 * 86400,
        age_below=90 * 86400,
        archive=("weekly*", "monthly"),
    )
    assert (weekly.chunk_size, weekly.cipher, weekly.codec) == (
        256 * MIB,
        "chacha20-poly1305",
        None,
    )
    assert (default.name, default.line, default.codec) == ("default", 22, "lz4-1")


def test_an_empty_file_has_no_rules():
    assert parse_rules("# nothing yet\n", "f").rules == ()


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("[[rule]]\ncodec = \n", 2, "no TOML"),
        ("a = 'x", 1, "no TOML"),
        ("x = " + "[" * 5000, 1, "no TOML"),
        ("x = " + "9" * 5000, 1, "no TOML"),
        ("version = 2\n", 1, "version 2"),
        ("\nversion = true\n", 2, "version True"),
        ("\n\nspeed = 3\n", 3, "unknown key 'speed'"),
        ("\n[fallback]\ncodec = 'none'\n", 2, "unknown key 'fallback'"),
        ("rule = 3\n", 1, "write [[rule]]"),
        ("\n[rule]\ncodec = 'none'\n", 2, "write [[rule]]"),
        ("\ndefault = 3\n", 2, "write [default]"),
        ("\n[[rule]]\nname = 'x'\n", 2, "decides nothing"),
        ("[[rule]]\ncodec = 'none'\ncolor = 'red'\n", 3, "unknown key 'color'"),
        ("[[rule]]\n\n\ncodec = 'zip'\n", 4, "codec: no codec 'zip'"),
        ("[[rule]]\ncodec = 'zstd-99'\n", 2, "codec: zstd has the levels"),
        ("[[rule]]\ncodec = 5\n", 2, "codec: no codec"),
        (
            "[[rule]]\ncontent = [\n 'text/*',\n 'images/*']\ncodec='none'\n",
            2,
            "near it are image/",
        ),
        ("[[rule]]\ncontent = []\ncodec='none'\n", 2, "0 patterns"),
        ("[[rule]]\ncontent = [3]\ncodec='none'\n", 2, "neither text nor a list"),
        ("[[rule]]\npath = '/'\ncodec='none'\n", 2, "matches no file"),
        (f"[[rule]]\npath = '{'x' * 4097}'\ncodec='none'\n", 2, "4096 are the most"),
        ("[[rule]]\nsize_below = '3 lbs'\ncodec='none'\n", 2, "size_below: no size"),
        ("[[rule]]\nsize_below = -1\ncodec='none'\n", 2, "size_below: no size"),
        ("[[rule]]\nsize_below = true\ncodec='none'\n", 2, "size_below: no size"),
        ("[[rule]]\nage_below = 7\ncodec='none'\n", 2, "age_below: no age"),
        ("[[rule]]\nname = 'a\\tb'\ncodec='none'\n[[rule]]\nname=\"\\t\"\n", 5, "not a name"),
        ("[[rule]]\nname = 'a'\ncodec='none'\n\n[[rule]]\nname='a'\ncodec='none'", 5, "is taken"),
        ("[[rule]]\nname = 'mover'\ncodec='none'\n", 1, "is taken"),
        ("[[rule]]\ncodec='none'\nmedia = ['big']\n", 3, "media cannot be followed"),
        ("[[rule]]\ncopies = 2\n", 2, "copies cannot be followed"),
        ("[default]\nframing = 'full'\n", 2, "framing cannot be followed"),
        ("[default]\nencryption = 'off'\n", 2, "encryption cannot be followed"),
        ("[default]\nchunk_size = 0\n", 2, "above 0"),
        ("[default]\npath = '*'\n", 2, "unknown key 'path'"),
        ("[[rule]]\nsize_below = 3\ncodec = 'none'\nchunk_size = 4096\n", 4, "a whole archive"),
        ("[[rule]]\ncontent = 'text/*'\ncipher = 'aes-256-gcm'\n", 3, "a whole archive"),
        ("[[rule]]\ncipher = 'none'\n", 2, "cipher: no cipher"),
        ("rule = [\n {codec = 'none'},\n {codec = 'zip'}]\n", 1, "codec: no codec"),
        ("[[rule]]\ncodec='none'\n" * 257, 513, "more than 256 rules"),
        ("#" * (SIZE_MAX + 1), 1, "longer than"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text, line, says):
    with pytest.raises(RuleError) as caught:
        parse_rules(text, "placement.toml")

    assert says in str(caught.value)
    assert str(caught.value).startswith(f"placement.toml:{line}: ")
