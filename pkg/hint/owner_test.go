package hint

import (
	"context"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/anyvip/anyvip/pkg/latest"
	"github.com/anyvip/anyvip/pkg/sockdiag"
	"github.com/anyvip/anyvip/pkg/vip"
)

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
		for limit := time.Now().Add(10 * time.Second); len(holders(inodes)) == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(limit) {
				t.Fatal("nobody is found to have the socket")
			}
		}
		time.Sleep(20 * time.Millisecond) // the search that finds it
		_ = process.Process.Kill()
		_ = process.Wait()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Fatal("its end is not seen")
		}
		o.sockets.Put(nil)                // whose search drops it
		time.Sleep(20 * time.Millisecond) // before its end is taken
		proceed <- struct{}{}
	}
}
