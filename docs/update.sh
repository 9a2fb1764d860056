#!/bin/sh
# Puts the generated tables into the reference pages; with --check only says whether they are current.
set -eu
cd "$(dirname "$0")/.."
generate=$1 check=${2:-}
status=0
for page in docs/directives.md:keys docs/reasons.md:reasons; do
    file=${page%:*} table=${page#*:}
    new=$(mktemp)
    "$generate" "$table" > "$new.table"
    awk -v table="$table" -v rows="$new.table" '
        $0 == "<!-- end " table " -->" { inside = 0 }
        !inside { print }
        $0 == "<!-- begin " table " -->" { inside = 1; while ((getline row < rows) > 0) print row }
    ' "$file" > "$new"
    if ! cmp -s "$new" "$file"; then
        if [ "$check" = --check ]; then
            echo "$file is not current: run make docs" >&2
            status=1
        else
            cp "$new" "$file"
        fi
    fi
    rm -f "$new" "$new.table"
done
exit $status
