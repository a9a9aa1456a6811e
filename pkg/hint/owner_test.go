package hint

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/anyvip/anyvip/pkg/latest"
	"github.com/anyvip/anyvip/pkg/sockdiag"
	"github.com/anyvip/anyvip/pkg/vip"
)

// isFollowed says whether this process has another open by a pidfd that O_NONBLOCK marks
// as ours: package os has one, too, of each that it started.
func isFollowed(pid int) bool {
	all, _ := filepath.Glob("/proc/self/fdinfo/*")
	for _, name := range all {
		text, _ := os.ReadFile(name)
		var flags int
		_, rest, _ := strings.Cut(string(text), "flags:")
		_, _ = fmt.Sscanf(rest, "%o", &flags)
		if flags&unix.O_NONBLOCK != 0 && strings.Contains(string(text), fmt.Sprintf("\nPid:\t%d\n", pid)) {
			return true
		}
	}
	return false
}

// A search may find that a process is gone before its end is taken: of both, one counts.
func TestAnOwnersEndAndASearchAtOneMoment(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	inodes := map[uint32]bool{}
	if err := sockdiag.Each(sockdiag.Query{Family: vip.IPv4, States: sockdiag.Listening}, func(s sockdiag.Socket) {
		if s.Local().Port() == l.Addr().(*net.TCPAddr).AddrPort().Port() {
			inodes[s.Inode()] = true
		}
	}); err != nil || len(inodes) != 1 {
		t.Fatalf("%v, %v", inodes, err)
	}
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	ended, proceed := make(chan struct{}), make(chan struct{})
	o := owners{sockets: latest.Make[map[uint32]bool](), pause: time.Millisecond, ended: func() { ended <- struct{}{}; <-proceed }}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() { defer close(over); o.run(ctx) }()
	defer func() { cancel(); <-over }()
	for range 20 {
		process := exec.Command("sleep", "3600")
		process.ExtraFiles = []*os.File{file}
		if err := process.Start(); err != nil {
			t.Fatal(err)
		}
		o.sockets.Put(inodes)
		for limit := time.Now().Add(20 * time.Second); !isFollowed(process.Process.Pid); time.Sleep(time.Millisecond) {
			if time.Now().After(limit) {
				t.Fatal("nobody is found to have the socket")
			}
		}
		_ = process.Process.Kill()
		_ = process.Wait()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Fatal("its end is not seen")
		}
		o.sockets.Put(nil)                // whose search drops it
		time.Sleep(20 * time.Millisecond) // before its end is taken
		proceed <- struct{}{}
	}
}
