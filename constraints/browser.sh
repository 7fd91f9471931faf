#!/usr/bin/env bash
# browser.sh VENV: a Chromium for the tests of the page. One that is there will do;
# else Playwright's is fetched, or on Debian, by root, the distribution's.
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
if [ "$(id -u)" = 0 ]; then
  if "$python" -m playwright install --with-deps chromium ||
    { apt-get update && apt-get install -y --no-install-recommends chromium; }; then
    exit 0
  fi
else
  "$python" -m playwright install chromium && exit 0
fi
echo 'install: no Chromium could be had. Install chromium or google-chrome with your
system and run make test again; all else is in place.' >&2
exit 1
