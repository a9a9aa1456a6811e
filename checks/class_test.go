package checks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/anyvip/anyvip/pkg/vip"
)

func TestFailure(t *testing.T) {
	dialing := func(errno syscall.Errno) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errno)}
	}
	for _, tc := range []struct {
		err     error
		outcome vip.Outcome
		class   vip.Class
		detail  string
	}{
		{dialing(syscall.ECONNREFUSED), vip.Fail, vip.ClassRefused, "connection refused"},
		{dialing(syscall.ECONNRESET), vip.Fail, vip.ClassReset, "connection reset by peer"},
		{dialing(syscall.EPIPE), vip.Fail, vip.ClassReset, "broken pipe"},
		{dialing(syscall.ETIMEDOUT), vip.Fail, vip.ClassTimeout, "connection timed out"},
		{dialing(syscall.EHOSTUNREACH), vip.Fail, vip.ClassUnreachable, "no route to host"},
		{dialing(syscall.ENETUNREACH), vip.Fail, vip.ClassUnreachable, "network is unreachable"},
		{dialing(syscall.EMFILE), vip.Error, vip.ClassLocal, "too many open files"},
		{dialing(syscall.ENFILE), vip.Error, vip.ClassLocal, "too many open files in system"},
		{dialing(syscall.EADDRNOTAVAIL), vip.Error, vip.ClassLocal, "cannot assign requested address"},
		{dialing(syscall.EPERM), vip.Error, vip.ClassLocal, "operation not permitted"},
		{dialing(syscall.EAGAIN), vip.Error, vip.ClassLocal, "resource temporarily unavailable"}, // not a timeout, though it says so
		{dialing(syscall.EAFNOSUPPORT), vip.Error, vip.ClassLocal, "address family not supported by protocol"},
		{context.DeadlineExceeded, vip.Fail, vip.ClassTimeout, "timed out"},
		{fmt.Errorf("read: %w", os.ErrDeadlineExceeded), vip.Fail, vip.ClassTimeout, "timed out"},
		{&net.OpError{Op: "dial", Err: &net.DNSError{Err: "i/o timeout", Name: "db", IsTimeout: true}}, vip.Error, vip.ClassResolve, "lookup db: i/o timeout"},
		{io.EOF, vip.Fail, vip.ClassReset, "the connection was closed in the middle"},
		{fmt.Errorf("body: %w", io.ErrUnexpectedEOF), vip.Fail, vip.ClassReset, "the connection was closed in the middle"},
		{errors.New("rubbish"), vip.Fail, vip.ClassProtocol, "rubbish"},
	} {
		want := vip.Result{Outcome: tc.outcome, Class: tc.class, Detail: "ask: " + tc.detail}
		if diff := cmp.Diff(want, failure("ask", tc.err, vip.ClassProtocol)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tc.err, diff)
		}
	}
}
