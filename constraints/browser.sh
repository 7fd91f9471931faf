#!/usr/bin/env bash
# browser.sh VENV: a Chromium for the tests of the page. One that is there will do; else the
# distribution's is installed (Debian, by root), or Playwright's is fetched.
set -uo pipefail

python=$PWD/$1/bin/python

for name in chromium chromium-browser google-chrome; do
  command -v "$name" >/dev/null && exit 0
done
"$python" - <<'EOF' && exit 0
import os, sys
from playwright.sync_api import sync_playwright
with sync_playwright() as play:
    sys.exit(not os.path.exists(play.chromium.executable_path))
EOF

echo 'install: Chromium, for the tests of the page'
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  # Ubuntu has no package of this name, and goes on to Playwright's
  apt-get update -q && apt-get install -qy --no-install-recommends chromium && exit 0
  "$python" -m playwright install --with-deps chromium && exit 0
fi
"$python" -m playwright install chromium && exit 0
echo 'install: no Chromium could be had. Install chromium or google-chrome with your
system and run make test again; all else is in place.' >&2
exit 1
