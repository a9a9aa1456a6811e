// Package lab runs containerlab topology files without containers.
//
// A node is a set of Linux namespaces (network, mounts, processes, System V
// memory, host name) over the host's own file system; its image only says which
// daemon of the host stands for it: FRR, BIRD, keepalived, anyvip. A link is a
// veth pair. It works for root, and for an ordinary user inside a user namespace, and it leaves
// nothing behind: no process, interface, mount or file, however it ends.
//
//	topo, err := lab.Load("lab/ecmp.clab.yml")
//	l, err := lab.Up(ctx, topo, lab.Options{})
//	defer l.Down()
//	out, err := l.Command(ctx, "s1", "ip", "route").Output()
//
// The running binary is started again in other roles: once as the supervisor,
// process 1 of the lab, and once per node. So main and TestMain of every program
// that calls Up begin with Init.
//
// # What differs from containerlab
//
//   - Exec lines run before the node's daemon starts, and one that fails fails Up.
//   - There is no management network and no eth0.
//   - Links have the kernel's default MTU of 1500 unless the file gives one.
//   - Environment variables in the file are not substituted. containerlab does
//     that in the whole file, so a file for both has no `$` in it.
//   - /usr, /home, /tmp and the rest of the host are shared with it. What a node
//     writes below /etc, /var and /run stays with the node.
//
// The package knows nothing of the daemon that is tested with it. Goroutines: one
// per lab, which ends with Down, and those of a Cmd, which end with its Wait.
package lab
