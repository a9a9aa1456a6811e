package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// namespaces returns how the supervisor is started: in pid and network namespaces
// of its own, and in a user namespace if we may not make those otherwise. A new
// session keeps the terminal's Ctrl-C from it: its caller decides.
func namespaces() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNET,
		Setsid:     true,
	}
	if needUserNS() {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return attr
}

// Check tells whether labs can run here, and if not, what to do about it.
func Check() error {
	path, err := lookPath("true", os.Getenv("PATH")+":/usr/bin:/bin")
	if err != nil {
		return err
	}
	probe := &exec.Cmd{Path: path, Args: []string{path}, SysProcAttr: namespaces()}
	if err := probe.Run(); err != nil {
		return explain(fmt.Errorf("make namespaces: %w", err))
	}
	return nil
}

// needUserNS tells whether this process lacks the rights over its own namespaces.
func needUserNS() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return os.Geteuid() != 0
	}
	const need = 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_NET_ADMIN
	return data[0].Effective&need != need
}

// userNSSwitches are the settings that forbid user namespaces.
var userNSSwitches = []struct{ path, forbids, set string }{
	{"/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"},
	{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"},
	{"/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces=10000"},
}

// explain adds to an error what the administrator has to allow, if we need a user
// namespace, the machine forbids it, and the error looks like that.
func explain(err error) error {
	forbidden := false
	for _, e := range []error{syscall.EPERM, syscall.EACCES, syscall.ENOSPC, syscall.EINVAL} {
		forbidden = forbidden || strings.Contains(err.Error(), e.Error()) // it may come from another process, as text
	}
	if !needUserNS() || !forbidden {
		return err
	}
	var advice []string
	for _, s := range userNSSwitches {
		if value, readErr := os.ReadFile(s.path); readErr == nil && strings.TrimSpace(string(value)) == s.forbids {
			advice = append(advice, "sysctl -w "+s.set)
		}
	}
	if len(advice) > 0 {
		return fmt.Errorf("%w; this machine forbids user namespaces to ordinary users: run as root, or allow them with `%s`",
			err, strings.Join(advice, "` and `"))
	}
	var start *os.PathError
	if errors.As(err, &start) { // the supervisor did not even start
		return fmt.Errorf("%w; a user namespace cannot be made here: inside a container its runtime may forbid that (seccomp); run as root, or with the capabilities SYS_ADMIN and NET_ADMIN", err)
	}
	return err
}
