package checks

import (
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/anyvip/anyvip/pkg/vip"
)

// failure is the result of a probe that err ended while doing something.
// fallback is the class of an error that neither the kernel nor the resolver
// nor a timeout caused: what that step's own protocol has to complain about.
func failure(doing string, err error, fallback vip.Class) vip.Result {
	r := classify(err, fallback)
	r.Detail = doing + ": " + r.Detail
	return r
}

// classify is the one table of errors. Errors of the resolver come first, as
// they may wrap any of the others; errnos come before timeouts, as EAGAIN calls
// itself one.
func classify(err error, fallback vip.Class) vip.Result {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		// The service was never asked, and a resolver that dies takes every
		// node with it: nothing that may withdraw.
		return vip.Result{Outcome: vip.Error, Class: vip.ClassResolve, Detail: dns.Error()}
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		outcome, class := classifyErrno(errno)
		return vip.Result{Outcome: outcome, Class: class, Detail: errno.Error()}
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return vip.Result{Outcome: vip.Fail, Class: vip.ClassTimeout, Detail: "timed out"}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return vip.Result{Outcome: vip.Fail, Class: vip.ClassReset, Detail: "the connection was closed in the middle"}
	}
	return vip.Result{Outcome: vip.Fail, Class: fallback, Detail: err.Error()}
}

// classifyErrno: what is not known to come from the other side is our own
// kernel's refusal (no descriptors, no ports, a local filter, no such family),
// so we could not ask.
func classifyErrno(errno syscall.Errno) (vip.Outcome, vip.Class) {
	switch errno { //nolint:exhaustive // there are 130, and more to come: the rest is below
	case syscall.ECONNREFUSED:
		return vip.Fail, vip.ClassRefused
	case syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE:
		return vip.Fail, vip.ClassReset
	case syscall.ETIMEDOUT:
		return vip.Fail, vip.ClassTimeout
	case syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ENETDOWN, syscall.ENOPROTOOPT:
		return vip.Fail, vip.ClassUnreachable
	}
	return vip.Error, vip.ClassLocal
}
