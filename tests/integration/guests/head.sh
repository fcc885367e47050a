# A head in plain shell: one line of standard input into each buffer, and an end.
set -e
octal() { # a number as four little-endian bytes, for printf
    printf '\\%03o\\%03o\\%03o\\%03o' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24 & 255))
}
none='\000\000\000\000'
while IFS= read -r line; do
    index=$(dd bs=16 count=1 <&"$DATAMOVER_INBOX" 2>/dev/null | od -An -tu4 -N4 | tr -d ' ')
    printf '%s\n' "$line" | dd of="/dev/fd/$DATAMOVER_SEGMENT" bs=65536 conv=notrunc oflag=seek_bytes \
        seek=$((DATAMOVER_DATA + index * DATAMOVER_STRIDE)) 2>/dev/null
    printf "$(octal "$index")$(octal $((${#line} + 1)))$none$none" >&"$DATAMOVER_OUTBOX"
done
printf "\377\377\377\377$none$none$none" >&"$DATAMOVER_OUTBOX"
