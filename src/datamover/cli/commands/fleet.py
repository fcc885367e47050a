"""``datamover fleet ...``: let machines know and trust each other."""

import socket
import time
from typing import Annotated

from cyclopts import Parameter

from datamover.cli.answer import Column, Drawing, Kind, Record, Rows
from datamover.cli.duration import parse_duration
from datamover.cli.everywhere import DEFAULTS, Everywhere
from datamover.cli.invitation import take_token
from datamover.cli.measure import time_text
from datamover.cli.render import show
from datamover.cli.screen import say
from datamover.errors import NotEnrolledError
from datamover.link import join as joining
from datamover.link.address import Address
from datamover.link.authority import Authority
from datamover.link.authority_state import Invitation, Machine
from datamover.link.certificates import ends_s, fingerprint
from datamover.link.founding import found, renew_here
from datamover.link.founding import revoke as shut_out
from datamover.link.identity import Identity
from datamover.link.peer import check_name
from datamover.link.places import configuration_folder

__all__ = ["init", "invite", "join", "list_machines", "renew", "revoke"]

_SECOND = 1_000_000_000
_MEMBER = (
    Column(key="machine", heading="machine"),
    Column(key="id", heading="id"),
    Column(key="fleet", heading="fleet"),
    Column(key="authority", heading="authority's fingerprint"),
    Column(key="ends_ns", heading="certificate good until", kind=Kind.TIME),
    Column(key="folder", heading="kept in"),
)
_MACHINES = (
    Column(key="machine", heading="machine"),
    Column(key="state", heading="state"),
    Column(key="since_ns", heading="since", kind=Kind.TIME),
    Column(key="ends_ns", heading="good until", kind=Kind.TIME),
    Column(key="id", heading="id", kind=Kind.ID),
)
_REVOKED = (
    Column(key="machine", heading="machine"),
    Column(key="id", heading="id"),
    Column(key="revoked_ns", heading="revoked", kind=Kind.TIME),
)


def init(*, name: str | None = None, everywhere: Everywhere = DEFAULTS) -> None:
    """Make a fleet, with this machine as its authority.

    Args:
        name: This machine's name in the fleet; by default its host name.
        everywhere: The options that every command takes.
    """
    identity = found(configuration_folder(), _own_name(name))
    _show_member(identity, "fleet made", everywhere)


def invite(
    *,
    name: str | None = None,
    expires: str = "1h",
    address: list[str] | None = None,
    allow: list[str] | None = None,
    everywhere: Everywhere = DEFAULTS,
) -> None:
    """Make a token with which one machine can join the fleet, once.

    Args:
        name: The only machine it is for; by default the machine chooses its name.
        expires: How long it is good, such as 30m, 1h or 2d; at most 30d.
        address: HOST:PORT where this machine answers; by default its host name and port 4747.
        allow: What the machine may do here: store:MAY:PATH or path:MAY:PATH with read, append or
            write; extend, attach, status or stop. May be given many times.
        everywhere: The options that every command takes.
    """
    authority = Authority.open(configuration_folder())
    places = [Address.parse(text) for text in address or [socket.gethostname()]]
    seconds = parse_duration(expires)
    token = authority.invite(
        name=name or "", expires_s=seconds, addresses=places, allow=allow or []
    )
    text, ends_ns = token.text(), int(time.time() + seconds) * _SECOND
    command = f"datamover fleet join {text}"
    told = f"Good once, until {time_text(ends_ns)}. On the other machine:\n\n  {command}\n"
    answer = Drawing(
        text=f"{text}\n" if everywhere.quiet else told,
        json={
            "event": "invitation",
            "invitation": token.invitation.hex(),
            "machine": name,
            "addresses": [str(place) for place in places],
            "ends_ns": ends_ns,
            "token": text,
            "command": command,
        },
    )
    show(answer, everywhere)


def join(
    token: str | None = None,
    /,
    *,
    name: str | None = None,
    token_file: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    address: list[str] | None = None,
    everywhere: Everywhere = DEFAULTS,
) -> None:
    """Make this machine a member of a fleet.

    Args:
        token: The token; without it, it is asked for. As an argument it can be seen by other users
            of this machine while the command runs.
        name: This machine's name in the fleet; by default that of the invitation, or its host name.
        token_file: Take the token from the first line of this file; `-` is standard input.
        address: HOST:PORT of the authority, when the token's own do not lead there.
        everywhere: The options that every command takes.
    """
    places = [Address.parse(text) for text in address or []]
    identity = joining.join(
        take_token(token, token_file), configuration_folder(), name=name or "", addresses=places
    )
    _show_member(identity, "joined", everywhere)


def list_machines(*, everywhere: Everywhere = DEFAULTS) -> None:
    """List the machines of the fleet, and the invitations that are open.

    Args:
        everywhere: The options that every command takes.
    """
    configuration = configuration_folder()
    try:
        state = Authority.open(configuration).state()
    except NotEnrolledError:
        identity = Identity.load(configuration)
        if not everywhere.quiet:
            say("notice: the authority is on another machine; only this machine is shown")
        rows = [_own_row(identity)]
    else:
        now_s = time.time()
        machines = sorted(state.machines, key=lambda machine: (machine.name, machine.joined_s))
        rows = [_machine_row(machine, now_s) for machine in machines]
        rows += [_invitation_row(i) for i in state.invitations if not i.used_s and i.ends_s > now_s]
    show(Rows(event="machine", columns=_MACHINES, rows=rows), everywhere)


def revoke(machine: str, /, *, everywhere: Everywhere = DEFAULTS) -> None:
    """Shut a machine out of the fleet, and free its name.

    Args:
        machine: Its name.
        everywhere: The options that every command takes.
    """
    gone = shut_out(configuration_folder(), machine)
    values = (gone.name, gone.id, gone.revoked_s * _SECOND)
    if everywhere.json or not everywhere.quiet:
        title = "revoked; other members hear of it when they renew or refresh"
        show(Record(event="revoked", title=title, columns=_REVOKED, values=values), everywhere)


def renew(*, address: list[str] | None = None, everywhere: Everywhere = DEFAULTS) -> None:
    """Get this machine a new key and certificate, and hear who was revoked.

    Args:
        address: HOST:PORT of the authority, when it is no longer where it was.
        everywhere: The options that every command takes.
    """
    configuration = configuration_folder()
    places = [Address.parse(text) for text in address or []]
    try:
        identity = renew_here(configuration)
    except NotEnrolledError:
        identity = joining.renew(configuration, addresses=places)
    _show_member(identity, "renewed", everywhere)


def _own_name(given: str | None) -> str:
    return check_name(socket.gethostname().lower() if given is None else given)


def _show_member(identity: Identity, title: str, everywhere: Everywhere) -> None:
    if everywhere.quiet and not everywhere.json:
        return
    values = (
        identity.peer.name,
        identity.peer.machine,
        identity.peer.fleet,
        fingerprint(identity.authority).hex(),
        ends_s(identity.certificate) * _SECOND,
        str(identity.folder),
    )
    show(Record(event="member", title=title, columns=_MEMBER, values=values), everywhere)


_Row = tuple[str, str, int, int | None, str]


def _machine_row(machine: Machine, now_s: float) -> _Row:
    ends = max((certified.ends_s for certified in machine.certificates), default=0)
    if machine.revoked_s:
        return machine.name, "revoked", machine.revoked_s * _SECOND, None, machine.id
    state = "member" if ends > now_s else "ended"
    return machine.name, state, machine.joined_s * _SECOND, ends * _SECOND or None, machine.id


def _invitation_row(invitation: Invitation) -> _Row:
    made, ends = invitation.made_s * _SECOND, invitation.ends_s * _SECOND
    return invitation.name or "*", "invited", made, ends, invitation.id


def _own_row(identity: Identity) -> _Row:
    begun = int(identity.certificate.not_valid_before_utc.timestamp()) * _SECOND
    ends = ends_s(identity.certificate)
    state = "member" if ends > time.time() else "ended"
    return identity.peer.name, state, begun, ends * _SECOND, identity.peer.machine
