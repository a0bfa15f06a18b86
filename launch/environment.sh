# shellcheck shell=bash
# Sourced by launch/quickstart.sh and tests/run.sh: a virtual environment in .venv.
#   PYTHON=python3.12 chooses the interpreter; it must be Python 3.11 or newer.

PYTHON="${PYTHON:-python3}"

install_requirements() {
    local requirements="$1" stamp
    # The last file that venv writes is activate: without it the making was broken off. The python
    # is a link, whose end may have been removed.
    if [ ! -f .venv/bin/activate ] || [ ! -x .venv/bin/python ]; then
        "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
            echo "error: $("$PYTHON" --version 2>&1) is too old: Python 3.11 or newer is needed;" \
                "PYTHON=/path/to/python chooses another" >&2
            exit 2
        }
        echo "making a virtual environment in .venv"
        "$PYTHON" -m venv --clear .venv
    fi
    # shellcheck disable=SC1091
    source .venv/bin/activate
    stamp=".venv/$requirements.installed"
    if [ ! -f "$stamp" ] || ! cat requirements*.txt | cmp -s - "$stamp"; then
        echo "installing $requirements (the first time: 1 GB on disk, a minute or two on a fast line)"
        # Minutes of silence look like a hang: one line that counts, or a few where there is no
        # terminal to write over a line.
        local from='  ' to='\n' every=20
        if [ -t 1 ]; then from='\r  ' to='' every=1; fi
        python -m pip install --disable-pip-version-check -r "$requirements" |
            awk -v from="$from" -v to="$to" -v every="$every" '
                /^Collecting/ && ++n % every == 0 { printf "%spackages: %d%s", from, n, to }
                /^Installing/ { printf "%spackages: %d, which are being unpacked%s", from, n, to }
                { fflush() }
                END { if (to == "") print "" }'
        cat requirements*.txt > "$stamp"
    fi
}
