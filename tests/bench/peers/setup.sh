#!/bin/sh
# Makes a Python environment with the packages of the peers and of the golden makers.
#   setup.sh [DIR] [--latest]     DIR defaults to ~/.cache/sparsenet-peers; --latest ignores the pinned versions
# Takes about 6 GB of disk, most of it libraries that torch links to. PYTHON chooses the interpreter (for 3.10 to 3.12
# there are wheels of everything).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir="$HOME/.cache/sparsenet-peers"
latest=0
for argument in "$@"; do
    case "$argument" in
    --latest) latest=1 ;;
    -*) echo "usage: setup.sh [DIR] [--latest]" >&2; exit 2 ;;
    *) dir=$argument ;;
    esac
done
python=${PYTHON:-python3}
[ -x "$dir/bin/python" ] || "$python" -m venv "$dir"
if [ "$latest" = 1 ]; then
    # shellcheck disable=SC2046
    "$dir/bin/pip" install --quiet --upgrade $(grep -v '^#' "$here/requirements.txt" | sed 's/==.*//')
else
    "$dir/bin/pip" install --quiet -r "$here/requirements.txt"
fi
echo "ready: $dir/bin/python"
