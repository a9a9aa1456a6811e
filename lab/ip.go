package lab

import "github.com/anyvip/anyvip/lab/internal/ipcmd"

// IP is the part of iproute2's `ip` that topology files use; argv[0] is "ip". It
// changes the network namespace of its caller. Nodes get it where the machine has
// no other, and our container images, which hold nothing else, as /bin/ip.
func IP(argv []string) error { return ipcmd.Run(argv) }
