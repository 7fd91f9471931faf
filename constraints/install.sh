#!/usr/bin/env bash
# install.sh STACK VENV: a virtual environment with the pinned stack and this
# package (editable), tests' and developers' tools. A step that fails is named,
# and the half-made environment is removed: pip's cache keeps what was fetched,
# so a second run starts clean and is quick. PYTHON names the Python to take.
set -uo pipefail

stack=$1
venv=$2
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
pins=$here/$stack.txt
log=$root/$venv.log

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

[ -f "$pins" ] || die "there is no constraints/$stack.txt; STACK is one of: $(
  cd "$here" && printf '%s ' *.txt | sed 's/\.txt//g')"

# {first,last} minor version of Python 3 that the stack has wheels for
case $stack in
  *-torch2.1) first=10 last=11 others='python3.11 python3.10' ;;
  *) first=10 last=99 others= ;;
esac
wanted="Python 3.$first or newer"
[ "$last" = 99 ] || wanted="Python 3.$first to 3.$last"

fits() {
  "$1" -c "import sys; sys.exit(not (3, $first) <= sys.version_info[:2] <= (3, $last))" \
    2>/dev/null
}

python=
for candidate in ${PYTHON:-python3 $others}; do
  if fits "$candidate"; then
    python=$candidate
    break
  fi
done
[ -n "$python" ] ||
  die "STACK=$stack needs $wanted, and ${PYTHON:-python3} is $(
    "${PYTHON:-python3}" --version 2>/dev/null || echo absent
  ). Name one: make PYTHON=python3.11 ..."

cd "$root" || exit 1
pip() { "$root/$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

step 'virtual environment' "$python" -m venv --clear "$venv"
step 'pip and setuptools' pip install -c "$pins" pip setuptools wheel
step 'torch' pip install -c "$pins" torch torchvision
if [ "$stack" != onedl ]; then
  # Upstream's MMCV has a source release alone. mmcv-lite is the same without the
  # compiled operators, which nothing here needs. Its setup.py imports pkg_resources,
  # which pip's isolated builds no longer have.
  step 'mmcv without operators' pip install -c "$pins" --no-build-isolation mmcv-lite
fi
# onedl-mmcv is built in isolation, where no torch is to be seen: it would otherwise
# compile its operators
step 'fastsegformer_mm and its stack' \
  pip install -c "$pins" -e ".[${stack%%-*},razor,deploy,page,ray,dev]"
step 'import' "$venv/bin/python" -c 'import fastsegformer_mm'
rm -f "$log"
touch "$venv/.installed"
