#!/bin/sh
# Does what a newcomer does in the first minutes: installs, runs the demo, types the
# tutorial and a how-to, runs `netns list`. It does so as root, as nobody, and as a user
# with and without XDG_RUNTIME_DIR, and then as the README says. Run it as root.
#     sh tests/first_minutes.sh [PYTHON]
set -eu
python=${1:-/usr/bin/python3}
cd "$(dirname "$0")/.."
work=$(mktemp -d)
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
demo=$(sed -n 's/^    \(python3 -m pip install -e .*demo\)$/\1/p' README.md)
[ -n "$demo" ]

# All users install from these files, as if from the index: the wheel, and what it needs.
git clone -q . "$work/source"
"$python" -m venv "$work/build"
"$work/build/bin/pip" wheel -q -w "$work/wheels" "$work/source[demo]"
chmod -R go+rX "$work/wheels"

cat >"$work/minutes" <<'EOF'
set -eu
python=$1 work=$2 page=$2/source/docs
mkdir "$HOME/first" && cd "$HOME/first"
"$python" -m venv env
. env/bin/activate
pip install -q --no-index --find-links "$work/wheels" 'pynetns[demo]'
cd /
netns --version
netns list >/dev/null
netns demo | tail -1
cd "$HOME"
if [ "$(id -u)" = 0 ]; then
	python "$work/source/tests/type_along.py" "$page/tutorial.md"
	python "$work/source/tests/type_along.py" "$page/howto/harnesses.md" 1
else # the tutorial says to do so
	unshare --map-root-user --net --mount sh -euc '
		[ "$3" ] || { NETNS_RUN_DIR=$(mktemp -d) && export NETNS_RUN_DIR; }
		python "$1/source/tests/type_along.py" "$2/tutorial.md"
		python "$1/source/tests/type_along.py" "$2/howto/harnesses.md" 1
		netns add yellow && netns list | grep -qx yellow && netns delete yellow
	' sh "$work" "$page" "${XDG_RUNTIME_DIR-}"
fi
netns list >/dev/null
EOF
chmod -R go+rX "$work/source"

# as UID WHO [NAME=VALUE...]: runs the minutes with a new home and that environment.
as() {
	uid=$1 who=$2
	shift 2
	home=$work/home-$who
	mkdir "$home"
	chown "$uid:$uid" "$home"
	echo "== $who"
	setpriv --reuid="$uid" --regid="$uid" --clear-groups \
		env -i HOME="$home" PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin LC_ALL=C.UTF-8 "$@" \
		sh "$work/minutes" "$python" "$work"
}

as 0 root
as 65534 nobody
as 54321 user
mkdir "$work/runtime"
chown 54321 "$work/runtime"
chmod 700 "$work/runtime"
as 54321 user-with-runtime-directory XDG_RUNTIME_DIR="$work/runtime"

# A user runs the README's command in a checkout, and then Python in the folder above it.
echo "== $demo"
git clone -q . "$work/home-user/netns"
chown -R 54321:54321 "$work/home-user/netns"
setpriv --reuid=54321 --regid=54321 --clear-groups \
	env -i HOME="$work/home-user" PATH=/usr/local/bin:/usr/bin:/bin DEMO="$demo" \
	${PIP_INDEX_URL:+PIP_INDEX_URL="$PIP_INDEX_URL"} PYTHON="$python" sh -euc '
		cd "$HOME/netns" && "$PYTHON" -m venv .venv && . .venv/bin/activate
		eval "$DEMO" | tail -1
		cd .. && python -W error -c "import netns; print(\"in the folder above:\", netns.__version__)"
	'
echo "the first minutes went well"
