package container

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// nothingLeft removes the engine's cgroups, which outlive its namespaces, and says
// what else the host has that it had not before.
func nothingLeft(t *testing.T, name string, before []string) error {
	t.Helper()
	removeCgroups(name)
	left := slices.DeleteFunc(traces(t, name), func(trace string) bool { return slices.Contains(before, trace) })
	if len(left) > 0 {
		return fmt.Errorf("left of the engine:\n%s", strings.Join(left, "\n"))
	}
	return nil
}

// traces are what an engine leaves on a host that it is not hidden from; name is
// that of its directory and its cgroup.
func traces(t *testing.T, name string) (found []string) {
	t.Helper()
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if strings.HasPrefix(l.Name, "docker") || strings.HasPrefix(l.Name, "br-") || strings.HasPrefix(l.Name, "veth") {
			found = append(found, "link "+l.Name)
		}
	}
	rules, _ := exec.Command("iptables-save").Output() // fails where the kernel has no tables
	for line := range strings.Lines(string(rules)) {
		if strings.Contains(line, "DOCKER") {
			found = append(found, "rule "+strings.TrimSpace(line))
		}
	}
	directories := []string{"/etc/docker", "/opt/containerd", "/var/lib/docker", "/var/lib/containerd", "/run/docker", "/run/containerd", "/run/docker.sock"}
	for _, path := range append(directories, cgroups(name)...) {
		if info, err := os.Stat(path); err == nil {
			found = append(found, fmt.Sprintf("%s, changed %s", path, info.ModTime()))
		}
	}
	return append(found, namedIn(name, "/proc/[0-9]*/cmdline", "/proc/[0-9]*/cgroup", "/proc/self/mountinfo")...)
}

// namedIn are the files that have name in them.
func namedIn(name string, patterns ...string) (found []string) {
	for _, pattern := range patterns {
		files, _ := filepath.Glob(pattern) // the patterns are good
		for _, file := range files {
			data, _ := os.ReadFile(file) // fails for a process that just ended
			if bytes.Contains(data, []byte(name)) {
				found = append(found, file)
			}
		}
	}
	return found
}

// cgroups are the engine's: one, or with version 1 one per hierarchy.
func cgroups(name string) []string {
	of1, _ := filepath.Glob("/sys/fs/cgroup/*/" + name) // the patterns are good
	of2, _ := filepath.Glob("/sys/fs/cgroup/" + name)
	return append(of1, of2...)
}

// removeCgroups leaves those that are still in use; they show in the traces.
func removeCgroups(name string) {
	for _, top := range cgroups(name) {
		below, _ := filepath.Glob(top + "/*/") // the pattern is good
		for _, dir := range append(below, top) {
			_ = os.Remove(dir)
		}
	}
}
