package lab_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// process is a process of the host.
type process struct {
	pid     int
	command string
}

// processesOf finds the processes of a lab: the supervisor and the nodes by their
// names, everything else by the pid namespace it shares with them.
func processesOf(t *testing.T, name string) []process {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	namespaces := make(map[string]bool)
	marked := make(map[string]string)
	for _, dir := range all {
		data, _ := os.ReadFile(dir + "/cmdline") // fails for a process that just ended
		line := strings.TrimSpace(strings.ReplaceAll(string(data), "\x00", " "))
		if line == "anyvip-lab-supervisor -supervisor "+name || strings.HasPrefix(line, "anyvip-lab-node "+name+"/") {
			marked[dir] = line
			if ns, err := os.Readlink(dir + "/ns/pid"); err == nil {
				namespaces[ns] = true
			}
		}
	}
	var found []process
	for _, dir := range all {
		ns, err := os.Readlink(dir + "/ns/pid")
		line := marked[dir]
		if line == "" && (err != nil || !namespaces[ns]) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, process{pid: pid, command: line})
	}
	return found
}

// host is what a lab could change on the host.
type host struct{ mounts, links string }

func hostState(t *testing.T) host {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var mounts strings.Builder
	for line := range strings.Lines(string(table)) {
		// Named network namespaces are no part of a lab, and other packages' tests
		// make and remove them meanwhile.
		if !strings.Contains(line, " /run/netns") {
			mounts.WriteString(line)
		}
	}
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	return host{mounts: mounts.String(), links: fmt.Sprint(links)}
}

// nothingLeft checks that the host is as before, and that no process, socket or
// directory of the lab is left.
func nothingLeft(t *testing.T, name string, before host) {
	t.Helper()
	eventually(t, 5*time.Second, func() error {
		if left := processesOf(t, name); len(left) > 0 {
			return fmt.Errorf("processes %v", left)
		}
		return nil
	})
	if after := hostState(t); after != before {
		t.Errorf("the host was\n%v\nand is\n%v", before, after)
	}
	for _, pattern := range []string{"/run/anyvip-lab/", "/tmp/anyvip-lab-*/", os.Getenv("XDG_RUNTIME_DIR") + "/anyvip-lab/"} {
		if left, _ := filepath.Glob(pattern + name + "*"); len(left) > 0 {
			t.Errorf("left on disk: %v", left)
		}
	}
	sockets, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(sockets), "/"+name+"/") {
		t.Error("a socket of the lab is left")
	}
}
