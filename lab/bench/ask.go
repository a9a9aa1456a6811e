package bench

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ask makes http requests to the web service of its host at a fixed rate, with nothing but system calls: what any
// checker has to pay on this machine. The calls are raw ones, which Go's scheduler knows nothing of: it would spend
// more on them than they cost. It sleeps as Go does, since the scheduler's signals would end a raw sleep early.
func ask(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("ask", flag.ContinueOnError)
	rate := flags.Int("rate", 1, "requests per second")
	if err := flags.Parse(args); err != nil {
		return err
	}
	a := asker{request: []byte("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"), answer: make([]byte, 4096)}
	a.server = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: [4]byte{127, 0, 0, 1}}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&a.server.Port))[:], 80)
	pause := time.Second / time.Duration(*rate)
	for next := time.Now(); ctx.Err() == nil; next = next.Add(pause) {
		time.Sleep(time.Until(next))
		if err := a.ask(); err != 0 {
			return fmt.Errorf("request: %w", err)
		}
	}
	return nil
}

type asker struct {
	server          unix.RawSockaddrInet4
	request, answer []byte
}

// ask makes one request on a connection of its own.
func (a *asker) ask() unix.Errno {
	fd, _, err := unix.RawSyscall(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != 0 {
		return err
	}
	defer func() { _, _, _ = unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0) }()
	if _, _, err := unix.RawSyscall(unix.SYS_CONNECT, fd, uintptr(unsafe.Pointer(&a.server)), unsafe.Sizeof(a.server)); err != 0 {
		return err
	}
	if _, _, err := unix.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&a.request[0])), uintptr(len(a.request))); err != 0 {
		return err
	}
	for {
		n, _, err := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&a.answer[0])), uintptr(len(a.answer)))
		if n == 0 || err != 0 {
			return err
		}
	}
}
