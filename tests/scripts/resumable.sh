#!/bin/sh
# A resumable upload by draft-ietf-httpbis-resumable-upload-11 with curl alone:
#   TOKEN=… resumable.sh https://example.com/files FILE
# Creates the upload with the first third, is cut off in the second, asks how far it got, sends the rest, and prints the
# file's address on its last line.
set -eu

url=$1
file=$2
size=$(wc -c <"$file")
third=$((size / 3))
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

call() {
    curl --silent --show-error --header "Authorization: Bearer $TOKEN" "$@"
}

# The value of a header in the answer that was kept last.
field() {
    tr -d '\r' <"$work/head" | sed -n "s/^$1: //Ip" | tail -n 1
}

head -c "$third" "$file" >"$work/first"
status=$(call --dump-header "$work/head" --output /dev/null --write-out '%{http_code}' \
    --header 'Upload-Complete: ?0' --header "Upload-Length: $size" \
    --header 'Content-Disposition: inline; filename="by-curl.bin"' --header 'Content-Type: application/octet-stream' \
    --data-binary "@$work/first" "$url")
[ "$status" = 201 ] && [ "$(field Upload-Complete)" = '?0' ]
upload=$(field Location)
echo "created, limits: $(field Upload-Limit)"

# A slow line, and somebody who loses patience: what arrived counts.
tail -c "+$((third + 1))" "$file" | call --max-time 2 --limit-rate 300k --output /dev/null --request PATCH \
    --header 'Upload-Complete: ?1' --header "Upload-Offset: $third" \
    --header 'Content-Type: application/partial-upload' --upload-file - "$upload" 2>/dev/null && exit 1

status=$(call --head --dump-header "$work/head" --output /dev/null --write-out '%{http_code}' "$upload")
offset=$(field Upload-Offset)
[ "$status" = 204 ] && [ "$(field Upload-Complete)" = '?0' ] && [ "$(field Upload-Length)" = "$size" ]
[ "$offset" -gt "$third" ] && [ "$offset" -lt "$size" ]
echo "cut off, at offset $offset of $size"

# Nobody may append elsewhere.
status=$(call --dump-header "$work/head" --output "$work/problem" --write-out '%{http_code}' --request PATCH \
    --header 'Upload-Complete: ?0' --header "Upload-Offset: $third" \
    --header 'Content-Type: application/partial-upload' --data-binary x "$upload")
[ "$status" = 409 ] && [ "$(field Upload-Offset)" = "$offset" ]
grep -q '#mismatching-upload-offset' "$work/problem"

tail -c "+$((offset + 1))" "$file" >"$work/rest"
status=$(call --dump-header "$work/head" --output "$work/file" --write-out '%{http_code}' --request PATCH \
    --header 'Upload-Complete: ?1' --header "Upload-Offset: $offset" \
    --header 'Content-Type: application/partial-upload' --data-binary "@$work/rest" "$upload")
[ "$status" = 201 ] && [ "$(field Upload-Complete)" = '?1' ]
field Location
