#!/bin/bash
# Installs the Debian packages that the checks and the tests need beside node, g++, make and python3, when they are absent.
set -euo pipefail

# Before the packages: the rest of this script ends early if no package is missing.
node scripts/sqlite.mjs

packages=()
command -v clang-14 >/dev/null || packages+=(clang-14)
command -v clang-format-14 >/dev/null || packages+=(clang-format-14)
command -v wrk >/dev/null || packages+=(wrk)
command -v curl >/dev/null || packages+=(curl)
command -v valgrind >/dev/null || packages+=(valgrind)
command -v objdump >/dev/null || packages+=(binutils)
# Clients that the tests of the examples use, and their servers.
command -v redis-server >/dev/null || packages+=(redis-server)
command -v redis-cli >/dev/null || packages+=(redis-tools)
command -v nc >/dev/null || packages+=(netcat-openbsd)
command -v logger >/dev/null || packages+=(bsdutils)
/usr/bin/python3 -c 'import prometheus_client' 2>/dev/null || packages+=(python3-prometheus-client)
command -v mosquitto_pub >/dev/null || packages+=(mosquitto-clients)
command -v chromium >/dev/null || packages+=(chromium)
dpkg-query -W -f '${Status}' libclang-rt-14-dev 2>/dev/null | grep -q 'ok installed' || packages+=(libclang-rt-14-dev)
[ ${#packages[@]} -eq 0 ] && exit 0
if ! command -v apt-get >/dev/null; then
  echo "Some tests need the programs of these Debian packages, which are not here: ${packages[*]}" >&2
  exit 0
fi

sudo=()
[ "$(id -u)" -eq 0 ] || sudo=(sudo)
"${sudo[@]}" apt-get update -qq
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
