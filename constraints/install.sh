#!/usr/bin/env bash
# install.sh STACK VENV: a virtual environment with the pinned stack and this
# package (editable), tests' and developers' tools. A step that fails is named,
# and the half-made environment is removed: pip's cache keeps what was fetched,
# so a second run starts clean and is quick.
set -uo pipefail

stack=$1
venv=$2
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
pins=$here/$stack.txt
log=$root/$venv.log
python=${PYTHON:-python3}

die() {
  echo "install: $1" >&2
  exit 1
}

step() {
  local name=$1
  shift
  echo "install ($stack): $name"
  if ! "$@" >"$log" 2>&1; then
    tail -n 25 "$log" >&2
    rm -rf "${root:?}/$venv"
    die "step '$name' failed (its end is above, all of it in $venv.log). \
Nothing half-made is left: mend the cause and run the same command again."
  fi
}

[ -f "$pins" ] || die "there is no constraints/$stack.txt; STACK is one of: onedl, openmmlab"
command -v "$python" >/dev/null ||
  die "there is no $python. Name a Python >= 3.10: make PYTHON=python3.11 ..."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
  die "$("$python" --version 2>&1) is too old: Python >= 3.10 is needed. Name one: make PYTHON=python3.11 ..."

cd "$root" || exit 1
pip() { "$root/$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

step 'virtual environment' "$python" -m venv --clear "$venv"
step 'pip and setuptools' pip install -c "$pins" pip setuptools wheel
step 'torch' pip install -c "$pins" torch torchvision
if [ "$stack" = openmmlab ]; then
  # MMCV has no wheel for today's torch: its ops are compiled here, against the
  # torch just installed (about 12 minutes on 2 cores; pip keeps the wheel).
  step 'C++ compiler (a g++ of Debian or your system is needed by mmcv)' c++ --version
  step 'ninja' pip install -c "$pins" ninja
  export CXX=$here/cxx20.sh
  step 'mmcv with ops' pip install -c "$pins" --no-build-isolation mmcv
  if ! "$venv/bin/python" -c 'import mmcv.ops' >/dev/null 2>&1; then
    # a wheel that pip kept from another torch does not load with this one
    step 'mmcv with ops, built anew' pip install -c "$pins" --no-build-isolation \
      --no-cache-dir --no-deps --force-reinstall mmcv
  fi
  unset CXX
fi
# Built in isolation, where no torch is to be seen: onedl-mmcv would otherwise
# compile its ops, which nothing here needs.
step 'fastsegformer_mm and its stack' \
  pip install -c "$pins" -e ".[$stack,razor,deploy,page,ray,dev]"
step 'import' "$venv/bin/python" -c 'import fastsegformer_mm'
rm -f "$log"
touch "$venv/.installed"
