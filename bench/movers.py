"""The commands that copy from one machine to another, as their users type them.

A mover is shell commands over $SRC (a folder), $DST (a fresh folder on the far machine), $HOST and
$PORT (where the far side listens), $NEAR (the near side's address), $BYTES (size of the source),
$WORK (a fresh folder for keys and settings) and $STORE (the one folder that may be a store there).

Far sides that end with the transfer (``ends``) are waited for, since only then the files are there.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

from datamover.testing.administer import tool

__all__ = ["IPERF3", "MBUFFER", "PEERS", "RSYNC", "TAR_NC", "Mover", "available", "iperf3"]

RCLONE = os.environ.get("RCLONE", "rclone")
# What is needed to reach a real sshd whose keys live for one run.
_SSHD = f"""
mkdir -p /run/sshd
for k in host user; do ssh-keygen -q -t ed25519 -N '' -f $WORK/$k; done
printf '%s\\n' "Port $PORT" "ListenAddress $HOST" "HostKey $WORK/host" 'PidFile none' 'UsePAM no' \\
  "AuthorizedKeysFile $WORK/user.pub" 'StrictModes no' 'Subsystem sftp internal-sftp' > $WORK/sshd
echo "[$HOST]:$PORT $(cat $WORK/host.pub)" > $WORK/known
exec {tool("sshd") or "sshd"} -D -q -f $WORK/sshd
"""
_SSH = (
    "ssh -F none -p $PORT -i $WORK/user -o UserKnownHostsFile=$WORK/known -o LogLevel=ERROR "
    "-c aes128-gcm@openssh.com"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mover:
    """How one program copies.

    Attributes:
        needs: Programs that must be there.
        serve: the far side, started before and not timed until then; "" for none.
        copy: the near side.
        port: where the far side listens; 0: at $PORT, a new one for each run.
        ends: whether the far side ends with the transfer, and the time is until then.
        files: whether files arrive, which are compared with the source.
    """

    name: str
    copy: str
    needs: tuple[str, ...] = ()
    serve: str = ""
    port: int = 0
    ends: bool = False
    files: bool = True


def iperf3(streams: int = 1, options: str = "") -> Mover:
    """The limit: as many bytes, from memory and to nowhere."""
    return Mover(
        name=f"iperf3 -P {streams}{options}",
        needs=("iperf3",),
        serve="exec iperf3 -s -1 -B $HOST -p $PORT",
        copy=f"iperf3 -c $HOST -p $PORT -l 1M -P {streams} -n $BYTES{options}",
        files=False,
    )


def available(mover: Mover) -> bool:
    """Whether all its programs are here."""
    return all(shutil.which(name) or tool(name) for name in mover.needs)


IPERF3 = iperf3()

RSYNC = Mover(
    name="rsync daemon",
    needs=("rsync",),
    serve="printf 'use chroot=no\\nuid=%s\\ngid=%s\\n[m]\\npath=%s\\nread only=no\\n' "
    "$(id -u) $(id -g) $DST > $WORK/rsyncd; exec rsync --daemon --no-detach --address=$HOST "
    "--port=$PORT --config=$WORK/rsyncd --log-file=$WORK/log",
    copy="rsync -a $SRC/ rsync://$HOST:$PORT/m/",
)

MBUFFER = Mover(
    name="tar | mbuffer",
    needs=("mbuffer", "tar"),
    serve="mbuffer -q -m 64M -I $NEAR:$PORT | tar -C $DST -xf -",
    copy="tar -C $SRC -cf - . | mbuffer -q -m 64M -O $HOST:$PORT",
    ends=True,
)

TAR_NC = Mover(
    name="tar | nc",
    needs=("nc", "tar"),
    serve="nc -l $HOST $PORT | tar -C $DST -xf -",
    copy="tar -C $SRC -cf - . | nc -N $HOST $PORT",
    ends=True,
)

PEERS = (
    RSYNC,
    MBUFFER,
    TAR_NC,
    Mover(
        name="tar | zstd -1 | nc",
        needs=("nc", "tar", "zstd"),
        serve="nc -l $HOST $PORT | zstd -dcq | tar -C $DST -xf -",
        copy="tar -C $SRC -cf - . | zstd -q -1 -T2 | nc -N $HOST $PORT",
        ends=True,
    ),
    Mover(
        name="rsync over ssh",
        needs=("rsync", "sshd", "ssh"),
        serve=_SSHD,
        copy=f'rsync -a -e "{_SSH}" $SRC/ $HOST:$DST/',
    ),
    Mover(
        name="rclone to sshd",
        needs=(RCLONE, "sshd", "ssh-keygen"),
        serve=_SSHD,
        copy=f"{RCLONE} --config '' copy -q --links --transfers 8 --checkers 16 "
        "--multi-thread-streams 4 --multi-thread-cutoff 64M $SRC "
        ":sftp,host=$HOST,port=$PORT,user=$(id -un),key_file=$WORK/user,shell_type=unix,"
        "md5sum_command=none,sha1sum_command=none:$DST",
    ),
    Mover(
        name="rclone to webdav",
        needs=(RCLONE,),
        serve=f"exec {RCLONE} --config '' serve webdav --addr $HOST:$PORT $DST",
        copy=f"{RCLONE} --config '' copy -q --links --transfers 8 --checkers 16 $SRC "
        "\":webdav,url='http://$HOST:$PORT',pacer_min_sleep=0.1ms:\"",
    ),
)
