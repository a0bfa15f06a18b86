#!/usr/bin/env bash
# From nothing to a verdict and a report:
#   bash launch/quickstart.sh [WORKDIR]        (default: runs/quickstart)
# makes a virtual environment, installs the requirements, trains two architectures on the
# same recall task, restores activations in each, and says by which mechanism it recalls.
# Run again, it goes on where it was broken off and skips what is finished.
# SMOKE=1 makes every training a run of seconds that learns nothing, to see that it works.
set -euo pipefail
case "${1:-}" in
-h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0" && exit ;;
-*) echo "error: unknown option '$1': valid are --help, or the name of a folder" >&2 && exit 2 ;;
"" | /*) workdir="${1:-runs/quickstart}" ;;
*) workdir="$PWD/$1" ;;
esac
cd "$(dirname "$0")/.."
smoke=""
[ "${SMOKE:-0}" = 0 ] || smoke=",smoke=True"
# shellcheck source=launch/environment.sh
source launch/environment.sh
install_requirements requirements.txt

workdirs=()
for mixer in based gated_delta_net; do
    python -m launch.train --config="configs/quickstart.py:mixer=$mixer$smoke" \
        --workdir="$workdir/$mixer"
    python -m launch.intervene --workdir="$workdir/$mixer"
    workdirs+=(--workdir="$workdir/$mixer")
done
python -m launch.report "${workdirs[@]}" --output="$workdir"
