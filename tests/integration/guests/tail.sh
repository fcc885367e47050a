# A tail in plain shell: each buffer goes to standard output, and back to the pipe.
set -e
while :; do
    set -- $(dd bs=16 count=1 <&"$DATAMOVER_INBOX" 2>/dev/null | od -An -tu4 -N8)
    [ "$1" = 4294967295 ] && exit 0
    dd if="/dev/fd/$DATAMOVER_SEGMENT" bs=65536 iflag=skip_bytes,count_bytes \
        skip=$((DATAMOVER_DATA + $1 * DATAMOVER_STRIDE)) count="$2" 2>/dev/null
    printf "\\$(printf %03o "$1")\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000" \
        >&"$DATAMOVER_OUTBOX"
done
