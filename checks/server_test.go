package checks

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyvip/anyvip/pkg/vip"
)

// serve listens on loopback, has each connection handled in a goroutine of its
// own, and returns the address. At the end of the test it closes all of them
// and waits.
func serve(t testing.TB, handle func(c *net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	group.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer c.Close()
				defer context.AfterFunc(ctx, func() { c.Close() })()
				handle(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		l.Close()
		group.Wait()
	})
	return l.Addr().String()
}

// says is a server that waits for something to be said, answers, and closes.
func says(answer string) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		hear(c)
		_, _ = io.WriteString(c, answer) // the client may have enough
		_ = c.CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	}
}

// resets is a server that hears something and then resets the connection.
func resets(answer string) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		hear(c)
		_, _ = io.WriteString(c, answer)
		_ = c.SetLinger(0)
	}
}

// trickles is a server that says something, and then one byte every 5 ms for ever.
func trickles(start string, b byte) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		_, err := io.WriteString(c, start)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for ; err == nil; <-tick.C {
			_, err = c.Write([]byte{b})
		}
	}
}

const gigabyte = 1 << 30

// floods is a server that hears something, answers, and then sends a gigabyte of b as
// fast as it can. How much of that it got rid of comes from sent.
func floods(answer string, b byte) (handle func(*net.TCPConn), sent <-chan int) {
	out := make(chan int, 1)
	block := bytes.Repeat([]byte{b}, 64<<10)
	return func(c *net.TCPConn) {
		hear(c)
		_, err := io.WriteString(c, answer)
		total := 0
		for err == nil && total < gigabyte {
			var n int
			n, err = c.Write(block)
			total += n
		}
		out <- total
	}, out
}

// silent is a server that takes everything and never answers.
func silent(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }

// hear reads one piece of what the client says.
func hear(c net.Conn) { _, _ = c.Read(make([]byte, 64<<10)) }

// nobody is an address that refuses.
func nobody(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return l.Addr().String()
}

// deaf is an address whose listener drops each new SYN: its queue is full.
func deaf(t testing.TB) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*syscall.SockaddrInet4).Port}).String()
	for {
		c, err := net.DialTimeout("tcp", address, 100*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { c.Close() })
	}
}

// probe asks once within timeout, and fails the test when that takes longer
// than a probe may.
func probe(t testing.TB, k Kind, timeout time.Duration) vip.Result {
	t.Helper()
	if ps := k.Validate(); len(ps) != 0 {
		t.Fatalf("the test's configuration is not valid: %v", ps)
	}
	c, err := k.Checker()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	start := time.Now()
	r := c.Probe(ctx)
	// The grace is 100 ms; the rest is for a busy machine with the race detector.
	if took := time.Since(start); took > timeout+time.Second {
		t.Errorf("the probe took %s with a timeout of %s", took, timeout)
	}
	r.Detail = vip.Line(r.Detail)
	return r
}

// cheap is probe, and fails the test when that took in more than it needs: more memory,
// or from a server that floods more than two socket buffers hold. A nil sent is none.
func cheap(t testing.TB, k Kind, timeout time.Duration, sent <-chan int) vip.Result {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := probe(t, k, timeout)
	if sent != nil {
		total := <-sent
		t.Logf("the server got rid of %d KiB", total>>10)
		if total > 32<<20 {
			t.Errorf("the server got rid of %d MiB", total>>20)
		}
	}
	runtime.ReadMemStats(&after)
	allocated := after.TotalAlloc - before.TotalAlloc
	t.Logf("%d KiB were allocated", allocated>>10)
	if allocated > 1<<20 {
		t.Errorf("%d KiB were allocated", allocated>>10)
	}
	return r
}

func expect(t testing.TB, got vip.Result, outcome vip.Outcome, class vip.Class, detail string) {
	t.Helper()
	want := vip.Result{Outcome: outcome, Class: class, Detail: detail}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
}

// withoutDescriptors runs f while this process can open no file or socket.
func withoutDescriptors(t *testing.T, f func()) {
	t.Helper()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 3, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
			t.Fatal(err)
		}
	}()
	f()
}

const (
	short = 100 * time.Millisecond // for what ends at the timeout
	long  = 10 * time.Second       // for what ends by itself
)

// asNobody runs f without the power to see every file: on a thread of its own that
// ends with it, where it is root's.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if os.Geteuid() == 0 {
			runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
			// This thread alone: file access goes by the thread's own file system ids.
			for _, id := range []uintptr{syscall.SYS_SETFSGID, syscall.SYS_SETFSUID} {
				_, _, _ = syscall.RawSyscall(id, 65534, 0, 0)
			}
		}
		f()
	}()
	<-done
}
