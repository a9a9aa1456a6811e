package durable

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// Life is how long what this host's kernel was told can live at most: an address, say.
// A file of another life says nothing about this one.
type Life struct {
	Boot  string `json:"boot_id"`                // this boot of the kernel
	Netns string `json:"netns_cookie,omitempty"` // this network namespace; empty before Linux 5.14
}

// ThisLife identifies this boot and this network namespace: a container that starts
// again has the old boot and a new namespace.
func ThisLife() (Life, error) {
	boot, err := BootID()
	if err != nil {
		return Life{}, fmt.Errorf("identify this boot: %w", err)
	}
	l := Life{Boot: boot}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return Life{}, fmt.Errorf("open netlink socket: %w", err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	if cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE); err == nil {
		l.Netns = strconv.FormatUint(cookie, 10)
	}
	return l, nil
}
