#!/usr/bin/env bash
# Run a program on every host of a TPU slice, from a machine that has gcloud:
#
#   bash launch/tpu_pod.sh --name=NAME --zone=ZONE [--project=PROJECT] [--dry_run] \
#       train --config=configs/recall.py:mixer=mamba --workdir=/mnt/runs/mamba
#
# copies this working tree's tracked files to every host, installs the requirements there, and starts
# `python -m launch.train ...` on all of them at once; jax finds the others by the TPU's metadata.
# The workdir must be on a disk that all hosts mount. The same command resumes after a preemption.
# --dry_run prints the commands instead of running them.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    echo "error: $1" >&2
    echo "usage: bash launch/tpu_pod.sh --name=NAME --zone=ZONE [--project=PROJECT] [--dry_run]" \
        "PROGRAM [--flag=value ...]" >&2
    exit 2
}

name="" dry_run="" where=()
while [ $# -gt 0 ]; do
    case "$1" in
        --name=*) name="${1#*=}" ;;
        --zone=* | --project=*) where+=("$1") ;;
        --dry_run) dry_run=yes ;;
        -*) usage "unknown option $1 (those of the program stand after its name)" ;;
        *) break ;;
    esac
    shift
done
[ -n "$name" ] || usage "--name is missing"
[[ " ${where[*]-} " == *" --zone="* ]] || usage "--zone is missing"
[ $# -gt 0 ] || usage "which program? for example: train"
program="$1"
shift
[ -f "launch/$program.py" ] || usage "there is no program launch/$program.py"

run() {
    if [ -n "$dry_run" ]; then
        printf '%q ' "$@"
        echo
    else
        "$@"
    fi
}

on_all_hosts() {
    run gcloud compute tpus tpu-vm ssh "$name" "${where[@]}" --worker=all --command="$1"
}

archive="$(mktemp -d)/mecheval_jax.tar.gz"
trap 'rm -rf "$(dirname "$archive")"' EXIT
git ls-files -z -- mecheval_jax configs launch requirements.txt |
    tar --create --gzip --null --files-from=- --file="$archive"
run gcloud compute tpus tpu-vm scp "$archive" "$name:mecheval_jax.tar.gz" "${where[@]}" --worker=all

# Sums tell whether the requirements changed, so that a second start need not install again. The last
# file that venv writes is activate: without it the making was broken off. The python is a link, whose
# end may have been removed.
on_all_hosts 'set -e
mkdir -p mecheval_jax && cd mecheval_jax
rm -rf mecheval_jax configs launch  # a module that is gone must not stay importable
tar -xzf ../mecheval_jax.tar.gz
if [ ! -f .venv/bin/activate ] || [ ! -x .venv/bin/python ]; then python3 -m venv --clear .venv; fi
if ! sha256sum --check --status .venv/installed 2>/dev/null; then
    .venv/bin/python -m pip install --quiet -r requirements.txt "jax[tpu]>=0.10.2,<0.11"
    sha256sum requirements.txt > .venv/installed
fi'

arguments=""
[ $# -eq 0 ] || printf -v arguments ' %q' "$@"
on_all_hosts "cd mecheval_jax && .venv/bin/python -m launch.$program$arguments"
