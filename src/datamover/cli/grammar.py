"""What can be typed: every command as data, before any of them is imported.

The application is built from this table, the reference is generated from it, and a test compares
it with the functions.  It imports nothing heavy: ``datamover --help`` reads only this.

Source: docs/reference/cli.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["COMMANDS", "GROUPS", "Command"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command.

    Attributes:
        words: What a person types: one word, or a group and a word.
        function: "module:function", imported when the command is called.
        usage: The arguments, as they are documented.
        summary: One line, imperative.
        examples: Commands that work as they stand, given the files they name.
        stages: "module:list" of the stages that it runs, for a head start; empty for none.
    """

    words: tuple[str, ...]
    function: str
    usage: str
    summary: str
    examples: tuple[str, ...] = ()
    stages: str = ""


def _at(function: str) -> str:
    return f"datamover.cli.commands.{function}"


COMMANDS: Final = (
    Command(
        words=("init",),
        function=_at("init:init"),
        usage="STORE [--encryption aes-256-gcm|chacha20-poly1305|none]",
        summary="Make a store: a folder that keeps archives.",
        examples=("datamover init /mnt/backup", "datamover init /mnt/scratch --encryption none"),
    ),
    Command(
        words=("backup",),
        function=_at("backup:backup"),
        usage=(
            "PATH... --to STORE [--name NAME] [--exclude PATTERN]... [--one-file-system] "
            "[--codec zstd-N|lz4|gzip-N|none] [--jobs N] [--chunk-size SIZE] [--rules FILE] "
            "[--dry-run] [--fresh] [--on-death stop|retry] [--daemon]"
        ),
        summary="Copy files and folders into a new archive of a store.",
        examples=(
            "datamover backup /home /etc --to /mnt/backup",
            "datamover backup . --to /mnt/backup --exclude '*.o' --codec zstd-9",
        ),
        stages="datamover.mover.pipes:WRITING_STAGES",
    ),
    Command(
        words=("restore",),
        function=_at("restore:restore"),
        usage=(
            "[ARCHIVE] [PATH...] --from STORE --to DIR [--overwrite] [--numeric-ids] [--no-sync] "
            "[--jobs N] [--on-death stop|retry]"
        ),
        summary="Bring an archive, or some paths of it, back below a folder.",
        examples=(
            "datamover restore --from /mnt/backup --to /tmp/back",
            "datamover restore latest etc/fstab --from /mnt/backup --to /tmp/back",
        ),
        stages="datamover.mover.pipes:READING_STAGES",
    ),
    Command(
        words=("copy",),
        function=_at("copy:copy"),
        usage=(
            "SRC... DST [--delete] [--delete-excluded] [--checksum] [--exclude PATTERN]... "
            "[--one-file-system] [--numeric-ids] [--compress CODEC] [--delta-from SIZE] "
            "[--through-buffers] [--jobs N] [--no-sync] [--dry-run] [--itemize] "
            "[--on-death stop|retry] [--daemon]"
        ),
        summary="Make a folder like another: only what differs is copied.",
        examples=(
            "datamover copy /home/data /mnt/disk",
            "datamover copy /home/data/ /mnt/disk/data --delete --dry-run",
        ),
        stages="datamover.mover.copying:PRELOAD",
    ),
    Command(
        words=("archives",),
        function=_at("archives:archives"),
        usage="STORE",
        summary="List the archives of a store, oldest first.",
        examples=("datamover archives /mnt/backup",),
    ),
    Command(
        words=("ls",),
        function=_at("ls:ls"),
        usage="STORE [ARCHIVE] [PATH] [--long]",
        summary="List what is in an archive.",
        examples=("datamover ls /mnt/backup", "datamover ls /mnt/backup latest etc --long"),
    ),
    Command(
        words=("verify",),
        function=_at("verify:verify"),
        usage="STORE [ARCHIVE] [--on-death stop|retry]",
        summary="Read everything that is stored and say what is damaged.",
        examples=("datamover verify /mnt/backup",),
        stages="datamover.mover.pipes:READING_STAGES",
    ),
    Command(
        words=("info",),
        function=_at("info:info"),
        usage="STORE",
        summary="Say what a store is, what it holds and how it is encrypted.",
        examples=("datamover info /mnt/backup",),
    ),
    Command(
        words=("placement", "check"),
        function=_at("placement:check"),
        usage="FILE",
        summary="Read a file of placement rules, and show what they say.",
        examples=(
            "datamover placement check placement.toml",
            "datamover placement check /mnt/backup",
        ),
    ),
    Command(
        words=("placement", "explain"),
        function=_at("placement:explain"),
        usage=(
            "PATH... (--to STORE | --rules FILE) [--name NAME] "
            "[--codec zstd-N|lz4|gzip-N|none] [--chunk-size SIZE]"
        ),
        summary="Say what a backup would do with files, by which rule and why.",
        examples=(
            "datamover placement explain /home/data --to /mnt/backup",
            "datamover placement explain film.mkv notes.txt --rules placement.toml",
        ),
    ),
    Command(
        words=("catalog", "rebuild"),
        function=_at("catalog:rebuild"),
        usage="STORE",
        summary="Make the catalog of a store again, from its chunks alone.",
        examples=("datamover catalog rebuild /mnt/backup",),
    ),
    Command(
        words=("pipe", "run"),
        function=_at("pipe:run"),
        usage="SPEC.toml [--daemon]",
        summary="Run a pipe from a file until it ends.",
        examples=("datamover pipe run pipe.toml", "datamover pipe run pipe.toml --daemon"),
    ),
    Command(
        words=("pipe", "show"),
        function=_at("pipe:show"),
        usage="SPEC.toml",
        summary="Draw a pipe: stages, instances, order, shares, buffers and memory.",
        examples=("datamover pipe show pipe.toml",),
    ),
    Command(
        words=("status",),
        function=_at("status:status"),
        usage="[PIPE] [--on [USER@]HOST] [--rsh COMMAND] [--remote-command COMMAND]",
        summary="Say what the pipes of this machine do, or of another.",
        examples=("datamover status", "datamover status backup --on vault"),
    ),
    Command(
        words=("jobs",),
        function=_at("jobs:jobs"),
        usage="",
        summary="List the jobs of the monitor, those that have ended too.",
        examples=("datamover jobs",),
    ),
    Command(
        words=("top",),
        function=_at("top:top"),
        usage=(
            "[--every SECONDS] [--count N] [--on [USER@]HOST] [--rsh COMMAND] "
            "[--remote-command COMMAND]"
        ),
        summary="Show what the pipes of this machine do, or of another, until Ctrl-C.",
        examples=("datamover top", "datamover top --on vault --every 5"),
    ),
    Command(
        words=("stop",),
        function=_at("stop:stop"),
        usage="PIPE [--on [USER@]HOST] [--rsh COMMAND] [--remote-command COMMAND]",
        summary="Stop a pipe that runs, on every machine that it runs on.",
        examples=("datamover stop backup-4711",),
    ),
    Command(
        words=("limit",),
        function=_at("stop:limit"),
        usage="PIPE RATE|none [--on [USER@]HOST] [--rsh COMMAND] [--remote-command COMMAND]",
        summary="Limit what a pipe sends to other machines, while it runs.",
        examples=("datamover limit copy-4711 200MB/s", "datamover limit copy-4711 none"),
    ),
    Command(
        words=("attach",),
        function=_at("attach:attach"),
        usage="PIPE --head|--tail [--token HEX] [--run COMMAND]",
        summary="Feed a pipe that runs from standard input, or take what comes out of it.",
        examples=(
            "datamover attach nightly --head < dump.sql",
            "datamover attach nightly --tail > dump.sql",
        ),
    ),
    Command(
        words=("monitor",),
        function=_at("monitor:monitor"),
        usage="[--listen ADDRESS]... [--drain SECONDS] [--log-json]",
        summary="Run pipes for other machines and commands, until SIGTERM.",
        examples=("datamover monitor", "datamover monitor --listen 192.0.2.7"),
    ),
    Command(
        words=("serve",),
        function=_at("serve:serve"),
        usage="--stdio|--path|--control",
        summary="Serve whoever is at the other end of standard input and output.",
        examples=("datamover serve --stdio < requests > answers",),
    ),
    Command(
        words=("fleet", "init"),
        function=_at("fleet:init"),
        usage="[--name NAME]",
        summary="Make a fleet, with this machine as its authority.",
        examples=("datamover fleet init --name vault",),
    ),
    Command(
        words=("fleet", "invite"),
        function=_at("fleet:invite"),
        usage="[--name NAME] [--expires TIME] [--address HOST:PORT]... [--allow GRANT]...",
        summary="Make a token with which one machine can join the fleet, once.",
        examples=(
            "datamover fleet invite --name laptop --address vault.example:4747",
            "datamover fleet invite --allow extend --allow store:append:/srv/store",
            "datamover fleet invite --quiet > token",
        ),
    ),
    Command(
        words=("fleet", "join"),
        function=_at("fleet:join"),
        usage="[TOKEN] [--name NAME] [--token-file FILE] [--address HOST:PORT]...",
        summary="Make this machine a member of a fleet.",
        examples=("datamover fleet join", "datamover fleet join --token-file token"),
    ),
    Command(
        words=("fleet", "list"),
        function=_at("fleet:list_machines"),
        usage="",
        summary="List the machines of the fleet, and the invitations that are open.",
        examples=("datamover fleet list",),
    ),
    Command(
        words=("fleet", "revoke"),
        function=_at("fleet:revoke"),
        usage="MACHINE",
        summary="Shut a machine out of the fleet, and free its name.",
        examples=("datamover fleet revoke laptop",),
    ),
    Command(
        words=("fleet", "renew"),
        function=_at("fleet:renew"),
        usage="[--address HOST:PORT]...",
        summary="Get this machine a new key and certificate, and hear who was revoked.",
        examples=("datamover fleet renew",),
    ),
    Command(
        words=("completion",),
        function=_at("completion:completion"),
        usage="bash|zsh|fish",
        summary="Print a completion script for a shell.",
        examples=(
            "datamover completion bash > ~/.local/share/bash-completion/completions/datamover",
        ),
    ),
)

GROUPS: Final = {
    "catalog": "Look after what a store knows about itself.",
    "fleet": "Let machines know and trust each other.",
    "placement": "See what placement rules say, and what they do to files.",
    "pipe": "Run and draw pipes that are written in a file.",
}
"""The first words that take a second one."""
