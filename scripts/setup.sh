# Sourced by the scripts beside it: makes sure that .venv holds all they need, then returns at once
# on every later run. Sets $root and $venv. Needs a POSIX shell and python3 (3.11 or newer).
#
# What .venv/.mailglass-* mean: "base" is there once the environment was made here, and names the
# Python and the place it was made for; "stamp" is there once everything is installed, and names
# what; "unfinished" is there while that goes on, so that an interrupted run is seen and redone.
# An environment of yours (one without "base") is only ever added to.

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P) || exit 1
venv=$root/.venv
unset PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX
export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

say() { printf 'mailglass: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
has_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }
has_pip() { "$1" -c 'import pip; raise SystemExit(tuple(map(int, pip.__version__.split(".")[:2])) < (22, 3))' 2>/dev/null; }
has_uv() { command -v uv >/dev/null 2>&1; }

find_python() {
    for python in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
        if python=$(command -v "$python" 2>/dev/null) && is_new_enough "$python"; then return; fi
    done
    die "Python 3.11 or newer is needed (on Debian: apt-get install python3 python3-venv)"
}

# Runs a command whose output matters only if it fails.
quietly() {
    if ! output=$("$@" 2>&1); then
        printf '%s\n' "$output" >&2
        return 1
    fi
}

# Installs Debian packages; $sudo is empty or the command that makes us root.
apt_install() {
    apt="$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends"
    $apt install "$@" >/dev/null 2>&1 && return
    say "refreshing the list of Debian packages"
    quietly $apt update && quietly $apt install "$@"
}

# Gives $python the means to make an environment, where it has none: Debian ships them apart.
need_venv() {
    if has_venv "$python" || has_uv || has_pip "$python"; then return; fi
    version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    advice="$python cannot make virtual environments; install the package $version-venv (as root: apt-get install $version-venv) or uv"
    case $("$python" -c 'import os, sys; print(os.path.realpath(sys.executable))') in
        /usr/bin/*) command -v apt-get >/dev/null 2>&1 || die "$advice" ;;
        *) die "$advice" ;;
    esac
    sudo=
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null || die "$advice"
        sudo='sudo -n'
    fi
    say "installing Debian's $version-venv"
    apt_install "$version-venv" && has_venv "$python" || die "$advice"
}

make_venv() {
    need_venv
    say "making the environment .venv with $("$python" -V 2>&1)"
    mkdir -p "$venv" && : >"$venv/.mailglass-unfinished" || die "cannot write to $root"
    if has_venv "$python"; then
        quietly "$python" -m venv "$venv"
    elif has_uv; then
        quietly uv venv --quiet --allow-existing --python "$python" "$venv"
    else
        quietly "$python" -m venv --without-pip "$venv"
    fi || die "the environment could not be made"
    base_key >"$venv/.mailglass-base"
}

# Runs pip for the environment: its own, or that of the Python it was made with.
pip() {
    if has_pip "$venv/bin/python"; then
        "$venv/bin/python" -m pip "$@"
    elif has_uv; then
        command=$1
        shift
        uv pip "$command" --python "$venv/bin/python" "$@"
    else
        find_python
        "$python" -m pip --python "$venv/bin/python" "$@"
    fi
}

install() {
    say "installing the packages of requirements.lock"
    if has_uv && uv pip install --quiet --python "$venv/bin/python" --require-hashes -r requirements.lock; then
        :
    else
        quietly pip install --quiet --require-hashes -r requirements.lock
    fi || die "the packages could not be installed; is there a network?"
    say "installing mailglass itself"
    quietly pip install --quiet --no-deps --no-build-isolation -e . || die "mailglass could not be installed"
}

base_key() { printf '%s\n%s\n' "$("$venv/bin/python" -VV 2>&1 | tr '\n' ' ')" "$root"; }
stamp_key() { base_key && cksum <pyproject.toml && cksum <requirements.lock; }
is_complete() { [ -f "$venv/.mailglass-stamp" ] && [ "$(stamp_key 2>&1)" = "$(cat "$venv/.mailglass-stamp")" ]; }

set_up() {
    if [ -f "$venv/.mailglass-unfinished" ]; then
        say "an earlier run was interrupted; starting afresh"
        rm -rf "$venv"
    elif [ -f "$venv/.mailglass-base" ] && [ "$(base_key 2>&1)" != "$(cat "$venv/.mailglass-base")" ]; then
        say "the Python or the place of this checkout has changed; starting afresh"
        rm -rf "$venv"
    fi
    if [ ! -e "$venv" ]; then
        find_python
        make_venv
    fi
    is_new_enough "$venv/bin/python" || die "$venv has no Python of version 3.11 or newer; remove it and run this again"
    [ -w "$venv" ] || die "$venv is out of date and belongs to somebody else; remove it or run this as its owner"
    rm -f "$venv/.mailglass-stamp"
    if [ -f "$venv/.mailglass-base" ]; then : >"$venv/.mailglass-unfinished"; fi
    install
    stamp_key >"$venv/.mailglass-stamp.new" && mv "$venv/.mailglass-stamp.new" "$venv/.mailglass-stamp"
    rm -f "$venv/.mailglass-unfinished"
}

cd "$root" || exit 1
if ! is_complete; then
    # One at a time, where flock exists; the lock ends with this process at the latest.
    exec 9<"$root/scripts/setup.sh"
    if command -v flock >/dev/null 2>&1; then
        flock -n 9 || { say "waiting for another set-up"; flock 9; }
    fi
    is_complete || set_up
    exec 9<&-
fi
