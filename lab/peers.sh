#!/bin/sh
# Installs what the tests need from Debian, without starting any service: the
# real routers and servers they talk to, systemd and its bus, ip, sysctl, kill and pgrep, nft, and the C compiler of the race detector; and
# what the benchmarks compare with. Does nothing when all is there; says what to do when it may not.
set -eu
missing=
[ -x /usr/lib/frr/bgpd ] || missing="$missing frr"
[ -x /usr/sbin/bird ] || missing="$missing bird2"
[ -x /usr/sbin/keepalived ] || missing="$missing keepalived"
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
[ -x /usr/sbin/unbound ] || missing="$missing unbound"
[ -x /usr/sbin/haproxy ] || missing="$missing haproxy"
[ -x /usr/sbin/nginx ] || missing="$missing nginx"
{ [ -x /lib/systemd/systemd ] && command -v systemctl >/dev/null; } || missing="$missing systemd"
command -v dbus-daemon >/dev/null || missing="$missing dbus-daemon"
command -v ip >/dev/null || missing="$missing iproute2"
command -v sysctl >/dev/null || missing="$missing procps"
[ -x /usr/sbin/nft ] || missing="$missing nftables"
command -v gcc >/dev/null || missing="$missing gcc libc6-dev"
command -v exabgp >/dev/null || [ -x /usr/sbin/exabgp ] || missing="$missing exabgp"
command -v gobgpd >/dev/null || missing="$missing gobgpd"
command -v curl >/dev/null || missing="$missing curl" # what ExaBGP's health check runs
if [ "${ANYVIP_REQUIRE_INTEGRATION:-}" = 1 ]; then # CI: containers too; otherwise their test is left out without them
	command -v dockerd >/dev/null || missing="$missing docker.io"
	command -v docker-compose >/dev/null || missing="$missing docker-compose"
fi
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "not installed:$missing. Tests that need them are left out or fail (gcc: all, for the race detector). On Debian: sudo apt-get install$missing"
	exit 0
fi
echo "installing$missing from Debian (no service is started)"
made=
trap 'rm -f $made' EXIT
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then # invoke-rc.d asks it; 101 forbids
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
	made=$policy
fi
case $missing in *postgresql*) # or its package makes a database server of its own, which the next boot starts
	dir=/etc/postgresql-common/createcluster.d
	mkdir -p $dir
	echo "create_main_cluster = false" >$dir/anyvip-peers.conf
	made="$made $dir/anyvip-peers.conf"
	;;
esac
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
# shellcheck disable=SC2086
if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } >"$log" 2>&1; then
	cat "$log"
	rm -f "$log"
	echo "apt-get could not install$missing: see above"
	exit 1
fi
rm -f "$log"
# Nor is any of them to run after the next boot.
for service in unbound unbound-resolvconf haproxy nginx; do
	case $missing in *"${service%-resolvconf}"*)
		! command -v systemctl >/dev/null || systemctl --quiet disable $service.service 2>/dev/null || :
		;;
	esac
done
